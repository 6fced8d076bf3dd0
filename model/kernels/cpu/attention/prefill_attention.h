// Causal attention of new tokens, by a team of threads (prefill_attention.cpp).
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <compare>
#include <cstdint>
#include <vector>

#include "cache_pages.h"
#include "team.h"

namespace qwen_batch {

// The sequences of a step that have new tokens. The queries are the last tokens of each context.
struct PrefillBatch {
  // [sequences + 1] first query of each sequence, [sequences] tokens in the cache, [sequences, width] page numbers
  const int32_t *query_start, *context, *tables;
  int64_t sequences, query_heads, heads, dim, page_size, width;
  float scale;

  CachePages cache_pages() const { return {.heads = heads, .page_size = page_size, .dim = dim}; }

  // Raises `std::runtime_error` if the batch reads outside `tokens` queries or a cache of `pages` pages.
  void check_bounds(int64_t tokens, int64_t pages) const;
};

// Prefill attention of a batch in one layer, in bfloat16.
struct PrefillStep {
  PrefillBatch batch;
  const uint16_t *q, *cache;  // q [tokens, query heads, dim]
  uint16_t* out;              // shaped like q
};

// Some tokens of one page, whose keys and values are packed together.
struct KeyBlock {
  int64_t page, first, count;  // `first`: place of the first token in its page

  auto operator<=>(const KeyBlock&) const = default;
};

// Cuts a batch into pieces, which are the same for all layers. Also holds memory for keys and values, packed in the
// order in which the products read them. Pages that sequences share are packed once for all of them.
class PrefillPlan {
 public:
  explicit PrefillPlan(const PrefillBatch& batch);

  // Returns a plan for other queries of the same sequences. Both plans share the memory for keys and values.
  PrefillPlan with_queries_of(const PrefillBatch& batch) const;

  // Does the member's share of a step with the plan's batch. The other members' results are complete after the next
  // wait.
  void attend(const Member& member, const PrefillStep& step) const;

 private:
  // A block of queries of one head.
  struct Queries {
    int64_t sequence, head, block;
  };

  void find_key_blocks(const PrefillBatch& batch);
  void cut_queries(const PrefillBatch& batch);

  // Attends with the blocks of queries from `first` up to `last`. All of them attend to one block of keys, then all to
  // the next one, so that most read a shared block from a near cache.
  void attend_together(const PrefillStep& step, int64_t first, int64_t last) const;

  std::vector<KeyBlock> key_blocks_;     // each once
  std::vector<int64_t> of_sequences_;    // for each block of each sequence, in order: its index in `key_blocks_`
  std::vector<int64_t> first_block_{0};  // per sequence: index of its first block in `of_sequences_`
  std::vector<Queries> queries_;
  torch::stable::Tensor packed_;  // [2, heads, key blocks, values per block]: keys, then values
};

}  // namespace qwen_batch
