// What decode attention of a step reads and writes.
#pragma once

#include <cstdint>
#include <vector>

#include "balance.h"
#include "cache_pages.h"
#include "check.h"
#include "plain_attention.h"

namespace qwen_batch {

// One query a sequence. An item is a kv head of a sequence with its query heads; they are numbered by sequence, then head.
template <typename T>
struct DecodeStep {
  const T *queries, *cache;
  T* out;
  const int32_t *context, *pages;
  int64_t sequences, query_heads, heads, dim, page_size, width;
  float scale;

  int64_t items() const { return sequences * heads; }
  int64_t group() const { return query_heads / heads; }
  CachePages cache_pages() const { return {heads, page_size, dim}; }
  int64_t context_of(int64_t item) const { return context[item / heads]; }
  Item sequence_of(int64_t item) const { return {pages + item / heads * width, context_of(item), page_size, cache_pages().page(), scale}; }

  // `count` of the sequences from `begin` on; queries and results are to be set.
  DecodeStep part(int64_t begin, int64_t count) const {
    DecodeStep step = *this;
    step.sequences = count;
    step.context += begin;
    step.pages += begin * width;
    return step;
  }

  // Cuts the items into parts that read about as much.
  std::vector<int64_t> borders(int64_t parts) const {
    return balanced_borders(items(), parts, [&](int64_t item) { return context_of(item); });
  }

  Run<T> run(int64_t item, int64_t heads_now) const {
    const int64_t first = item * group() * dim;
    const T* keys = cache + cache_pages().key_at(0, item % heads);
    return {queries + first, keys, keys + cache_pages().values(), out + first, heads_now};
  }

  // Raises `std::runtime_error` for what lies outside a cache of so many pages.
  void check_bounds(int64_t num_pages) const {
    for (int64_t s = 0; s < sequences; ++s)
      check(context[s] >= 1 && context[s] <= width * page_size, "decode_attention: a context length is outside its pages");
    check_page_numbers(pages, sequences * width, num_pages, "decode_attention: a page number is outside the cache");
  }

  const T* first_key(int64_t item) const { return cache + cache_pages().key_at(pages[item / heads * width] * page_size, item % heads); }
};

}  // namespace qwen_batch
