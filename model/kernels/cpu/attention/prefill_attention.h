// Causal attention of new tokens by a team (prefill_attention.cpp).
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

#include "cache_pages.h"
#include "team.h"

namespace qwen_batch {

// A step's sizes and arrays, bfloat16 and int32. The queries are the last tokens of each context.
struct PrefillStep {
  const uint16_t *q, *cache;
  uint16_t* out;
  const int32_t *query_start, *context, *tables;
  int64_t sequences, query_heads, heads, dim, page_size, width;
  float scale;

  CachePages cache_pages() const { return {heads, page_size, dim}; }

  // Raises `std::runtime_error` for what lies outside q, of so many tokens, or a cache of so many pages.
  void check_bounds(int64_t tokens, int64_t pages) const;
};

// How a step is cut into pieces, which is the same for all layers, and memory for keys and values in the order of the products.
class PrefillPlan {
 public:
  explicit PrefillPlan(const PrefillStep& step);

  // For other queries of the same sequences, with the same memory for their keys and values.
  PrefillPlan with_queries_of(const PrefillStep& step) const;

  // Each member's share; what others do is there after the next wait.
  void attend(const Member& member, const PrefillStep& step) const;

 private:
  // A block of queries, or of keys and values, of a head.
  struct Piece {
    int64_t sequence, head, block;
  };

  void cut_queries(const PrefillStep& step);
  int64_t place(const PrefillStep& step, int64_t sequence, int64_t head) const;

  std::vector<int64_t> first_block_{0};  // of each sequence
  std::vector<Piece> keys_, queries_;
  torch::stable::Tensor packed_;
};

}  // namespace qwen_batch
