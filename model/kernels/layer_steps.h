// A step's rows through all decoder layers, by a team in one parallel region.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "layer.h"
#include "prefill_attention.h"

namespace qwen_batch {

struct Model {
  LayerSizes sizes;
  std::vector<LayerWeights> layers;
  std::vector<uint16_t*> k_caches, v_caches;  // of each layer

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }

  // Of any layer's products: their sizes are the same in all.
  int64_t most_scratch(int64_t rows) const {
    int64_t most = 0;
    for (const PackedWeight* weight : {&layers[0].qkv, &layers[0].o, &layers[0].gate_up, &layers[0].down})
      most = std::max(most, scratch_bytes(*weight, rows));
    return most;
  }
};

// Hidden states of the first layer's beginning to those of the last one's end. First come the sequences that decode, a row each, then
// the prompts of `prefill`, whose starts are counted from the first of their rows; either may be none. A step's queries, results and
// caches are those of `rows` and `model`, whatever it says. A row's bits depend on that row alone.
void run_step(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& decode, const PrefillStep& prefill);

}  // namespace qwen_batch
