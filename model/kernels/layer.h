// A decoder layer in three parts, between which others may be given the memory (layers.cpp). In bfloat16.
#pragma once

#include "kernels.h"

namespace qwen_batch {

// Products are packed for the kernels of this folder.
struct LayerWeights {
  const Tensor &input_norm, &qkv, &q_norm, &k_norm, &o, &post_norm, &gate_up, &down;
};

struct LayerSizes {
  int64_t heads, intermediate_size;
  double eps;
  bool is_decode;
};

// The rows of a step, as in model/attention_metadata.py; cos and sin [T, D / 2] float32.
struct StepRows {
  Tensor cos, sin, slots, query_start, context_lens, block_tables;
};

// Hidden states [T, E] to queries [T, H, D]; keys and values go to the cache.
Tensor project(const Tensor& hidden, const LayerWeights& weights, const LayerSizes& sizes, const StepRows& rows, Tensor& k_cache, Tensor& v_cache);

// Queries to what they attend to, [T, H, D].
Tensor attend(const Tensor& queries, const LayerSizes& sizes, const StepRows& rows, const Tensor& k_cache, const Tensor& v_cache);

// The rest of the layer: hidden states [T, E], of the layer's beginning, to those of its end.
Tensor finish(const Tensor& hidden, const Tensor& attended, const LayerWeights& weights, const LayerSizes& sizes);

}  // namespace qwen_batch
