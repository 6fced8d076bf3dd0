// A decoder layer by a team of threads, in bfloat16, in two parts: before its attention and after it.
//
// Computes the same as `decoder_layer` of model/qwen3.py and rounds at the same places.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "experts.h"
#include "overlap.h"
#include "product.h"

namespace qwen_batch {

struct LayerWeights {
  const uint16_t *input_norm, *q_norm, *k_norm, *post_norm;
  PackedWeight qkv, o;
  std::vector<MlpWeights> mlps;  // one, or those of all experts
  const float* router;           // of the experts, or nullptr
};

struct LayerSizes {
  int64_t hidden, heads, kv_heads, dim, intermediate, page_size;
  float eps;
  int64_t experts, experts_per_row;  // 0 in layers without experts
  bool normalise_experts;

  ExpertSizes expert_sizes() const { return {hidden, intermediate, experts, experts_per_row, normalise_experts}; }

  CachePages cache_pages() const { return {.heads = kv_heads, .page_size = page_size, .dim = dim}; }
  int64_t qkv() const { return (heads + 2 * kv_heads) * dim; }
  int64_t wide() const { return std::max(qkv(), 2 * intermediate); }
  int64_t narrow() const { return std::max(heads * dim, intermediate); }
};

// Rows of a step, and buffers for their intermediate results.
struct LayerRows {
  int64_t count;
  const float *cos, *sin;  // [count, dim / 2]
  const int64_t* slots;    // slots in the cache
  uint16_t* hidden;        // [count, hidden], hidden states at the start of a layer, then at its end
  uint16_t* normed;        // [count, hidden]
  uint16_t* wide;          // [count, qkv], then [count, 2 * intermediate]
  uint16_t* queries;       // [count, heads, dim]
  uint16_t* narrow;        // attention's result, shaped like the queries; then [count, intermediate]
  uint16_t* projected;     // [count, hidden]
  void* scratch;           // memory for a product
  ExpertMemory* experts;   // nullptr without experts

  LayerRows part(int64_t begin, int64_t rows, const LayerSizes& sizes) const {
    const int64_t half = begin * sizes.dim / 2, narrow_values = begin * sizes.hidden;
    return {
        .count = rows,
        .cos = cos + half,
        .sin = sin + half,
        .slots = slots + begin,
        .hidden = hidden + narrow_values,
        .normed = normed + narrow_values,
        .wide = wide + begin * sizes.wide(),
        .queries = queries + begin * sizes.heads * sizes.dim,
        .narrow = narrow + begin * sizes.narrow(),
        .projected = projected + narrow_values,
        .scratch = scratch,
        .experts = experts,
    };
  }
};

// Computes queries from hidden states, and writes keys and values to the layer's cache. `overlap`: attention to do
// between blocks of the products, or nullptr.
void project(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows,
             uint16_t* cache, Overlap* overlap);

// Completes the layer: computes its final hidden states from attention's result and its initial hidden states.
// Afterwards each member may use its own share of rows without a wait.
void finish(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows,
            Overlap* overlap);

}  // namespace qwen_batch
