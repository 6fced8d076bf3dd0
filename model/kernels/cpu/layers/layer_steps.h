// Takes a step's rows through all decoder layers, by a team of threads in one parallel region.
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
  const std::vector<LayerWeights>& layers;
  std::vector<uint16_t*> caches;  // one per layer

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }

  // Returns the scratch bytes that the products of any layer need; all layers have the same sizes.
  int64_t max_scratch(int64_t rows) const {
    int64_t bytes = 0;
    const MlpWeights& mlp = layers[0].mlps[0];
    for (const PackedWeight* weight : {&layers[0].qkv, &layers[0].o, &mlp.gate_up, &mlp.down})
      bytes = std::max(bytes, scratch_bytes(*weight, rows));
    return bytes;
  }
};

// The input of a step. First come the sequences that decode, with one row each, then the prompts of `prefill`. Either
// kind may be absent. `prefill.query_start` counts from the prompts' first row.
struct StepRows {
  LayerRows rows;
  DecodeBatch decode;
  PrefillBatch prefill;
  std::optional<LayerRows> last =
      std::nullopt;  // set if only each sequence's last row is wanted: memory for these rows

  // Return the step of the first `count` sequences, all of which decode, and the step of the sequences after them.
  StepRows first(int64_t count, const LayerSizes& sizes) const {
    StepRows part{.rows = rows.part(0, count, sizes), .decode = decode.part(0, count), .prefill = prefill};
    part.prefill.sequences = 0;
    if (last) part.last = last->part(0, count, sizes);
    return part;
  }
  StepRows from(int64_t begin, const LayerSizes& sizes) const {
    StepRows part{
        .rows = rows.part(begin, rows.count - begin, sizes),
        .decode = decode.part(begin, decode.sequences - begin),
        .prefill = prefill,
    };
    if (last) part.last = last->part(begin, last->count - begin, sizes);
    return part;
  }
};

// Computes the last layer's hidden states from the first layer's input. They are in `last` if it is set; then only
// those rows go on after the last layer's keys and values are stored. A row's bits depend on that row alone.
void run_step(const Model& model, const StepRows& step);

}  // namespace qwen_batch
