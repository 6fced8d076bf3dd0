// A step's rows through all decoder layers, by a team in one parallel region.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "layer.h"
#include "prefill_attention.h"

namespace qwen_batch {

struct Model {
  LayerSizes sizes;
  std::vector<LayerWeights> layers;
  std::vector<uint16_t*> caches;  // of each layer

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }

  // Of any layer's products: their sizes are the same in all.
  int64_t most_scratch(int64_t rows) const {
    int64_t most = 0;
    for (const PackedWeight* weight : {&layers[0].qkv, &layers[0].o, &layers[0].gate_up, &layers[0].down})
      most = std::max(most, scratch_bytes(*weight, rows));
    return most;
  }
};

// What a step computes. First come the sequences that decode, a row each, then the prompts of `prefill`, whose starts are counted from
// the first of their rows; either may be none. Queries, results and caches are those of `rows` and the model, whatever they say.
struct StepRows {
  LayerRows rows;
  DecodeStep<uint16_t> decode;
  PrefillStep prefill;
  std::optional<LayerRows> last;  // memory for a row a sequence, its last, if only those are wanted

  // The first `count` sequences, all of which decode, and those after them.
  StepRows first(int64_t count, const LayerSizes& sizes) const {
    StepRows part{rows.part(0, count, sizes), decode.part(0, count), prefill};
    part.prefill.sequences = 0;
    if (last) part.last = last->part(0, count, sizes);
    return part;
  }
  StepRows from(int64_t begin, const LayerSizes& sizes) const {
    StepRows part{rows.part(begin, rows.count - begin, sizes), decode.part(begin, decode.sequences - begin), prefill};
    if (last) part.last = last->part(begin, last->count - begin, sizes);
    return part;
  }
};

// Hidden states of the first layer's beginning to those of the last one's end, which are in `last` if there is one: then no other row goes
// on from the last layer's keys and values. A row's bits depend on that row alone.
void run_step(const Model& model, const StepRows& step);

}  // namespace qwen_batch
