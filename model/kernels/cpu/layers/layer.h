// A decoder layer in two parts, before and after its attention, by a team and in bfloat16.
//
// As `decoder_layer` of model/qwen3.py, rounded where it rounds.
#pragma once

#include <algorithm>
#include <cstdint>

#include "beside.h"
#include "product.h"

namespace qwen_batch {

struct LayerWeights {
  const uint16_t *input_norm, *q_norm, *k_norm, *post_norm;
  PackedWeight qkv, o, gate_up, down;
};

struct LayerSizes {
  int64_t hidden, heads, kv_heads, dim, intermediate, page_size;
  float eps;

  CachePages cache_pages() const { return {kv_heads, page_size, dim}; }
  int64_t qkv() const { return (heads + 2 * kv_heads) * dim; }
  int64_t wide() const { return std::max(qkv(), 2 * intermediate); }
  int64_t narrow() const { return std::max(heads * dim, intermediate); }
};

// Rows of a step, and memory for what becomes of them.
struct LayerRows {
  int64_t count;
  const float *cos, *sin;  // [count, dim / 2]
  const int64_t* slots;    // of the cache
  uint16_t* hidden;        // [count, hidden], from the beginning to the end of a layer
  uint16_t* normed;        // [count, hidden]
  uint16_t* wide;          // [count, qkv], then [count, 2 * intermediate]
  uint16_t* queries;       // [count, heads, dim]
  uint16_t* narrow;        // what they attended to, like the queries; then [count, intermediate]
  uint16_t* projected;     // [count, hidden]
  void* scratch;           // of a product

  LayerRows part(int64_t begin, int64_t rows, const LayerSizes& sizes) const {
    const int64_t half = begin * sizes.dim / 2, narrow_values = begin * sizes.hidden;
    return {rows, cos + half, sin + half, slots + begin, hidden + narrow_values, normed + narrow_values, wide + begin * sizes.wide(),
            queries + begin * sizes.heads * sizes.dim, narrow + begin * sizes.narrow(), projected + narrow_values, scratch};
  }
};

// Hidden states to queries; keys and values go to the layer's cache. `beside`: what to do between blocks of the products.
void project(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows, uint16_t* cache, Beside* beside);

// What was attended to, and the hidden states of the layer's beginning, to those of its end. A member has its share of rows
// without a wait.
void finish(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows, Beside* beside);

}  // namespace qwen_batch
