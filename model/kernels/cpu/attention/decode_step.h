// A step's decode attention: its sequences, and its inputs and output in one layer.
#pragma once

#include <cstdint>
#include <vector>

#include "balance.h"
#include "cache_pages.h"
#include "check.h"
#include "plain_attention.h"

namespace qwen_batch {

// The sequences that decode in a step. Each has one query. An item is a kv head of a sequence together with its query
// heads. Items are numbered by sequence, then by kv head.
struct DecodeBatch {
  const int32_t *context, *pages;  // [sequences] tokens in the cache, and [sequences, width] page numbers
  int64_t sequences, query_heads, heads, dim, page_size, width;
  float scale;

  int64_t items() const { return sequences * heads; }
  int64_t group() const { return query_heads / heads; }
  CachePages cache_pages() const { return {.heads = heads, .page_size = page_size, .dim = dim}; }
  int64_t context_of(int64_t item) const { return context[item / heads]; }
  Item sequence_of(int64_t item) const {
    return {
        .pages = pages + item / heads * width,
        .context = context_of(item),
        .page_size = page_size,
        .page_stride = cache_pages().page(),
        .scale = scale,
    };
  }

  // Returns the batch of `count` sequences, starting at `begin`.
  DecodeBatch part(int64_t begin, int64_t count) const {
    DecodeBatch batch = *this;
    batch.sequences = count;
    batch.context += begin;
    batch.pages += begin * width;
    return batch;
  }

  // Cuts the items into parts that read about equally many tokens.
  std::vector<int64_t> borders(int64_t parts) const {
    return balanced_borders(items(), parts, [&](int64_t item) { return context_of(item); });
  }

  // Raises `std::runtime_error` if a context length or page number lies outside a cache of `num_pages` pages.
  void check_bounds(int64_t num_pages) const {
    for (int64_t s = 0; s < sequences; ++s)
      check(context[s] >= 1 && context[s] <= width * page_size,
            "decode_attention: a context length is outside its pages");
    check_page_numbers(pages, sequences * width, num_pages, "decode_attention: a page number is outside the cache");
  }
};

// Decode attention of a batch in one layer.
template <typename T>
struct DecodeStep {
  DecodeBatch batch;
  const T *queries, *cache;  // queries [sequences, query heads, dim]
  T* out;                    // shaped like the queries

  Run<T> run(int64_t item, int64_t heads_now) const {
    const int64_t first = item * batch.group() * batch.dim;
    const T* keys = cache + batch.cache_pages().key_at(0, item % batch.heads);
    return {
        .q = queries + first,
        .keys = keys,
        .values = keys + batch.cache_pages().values(),
        .out = out + first,
        .heads = heads_now,
    };
  }

  const T* first_key(int64_t item) const {
    const int64_t slot = batch.pages[item / batch.heads * batch.width] * batch.page_size;
    return cache + batch.cache_pages().key_at(slot, item % batch.heads);
  }
};

}  // namespace qwen_batch
