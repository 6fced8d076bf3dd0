// Decode attention of one head in plain C++. It serves float32 and unusual head sizes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vector_math.h"

namespace qwen_batch {

// A sequence's pages and sizes, as attention needs them.
struct Item {
  const int32_t* pages;
  int64_t context;    // tokens in the cache
  int64_t page_size;  // tokens per page
  int64_t page_stride;
  float scale;

  // Returns the offset of a position's key or value, in values from the first key or value of page 0.
  int64_t place(int64_t position, int64_t dim) const {
    return pages[position / page_size] * page_stride + position % page_size * dim;
  }
};

// Adjacent kv heads and their query heads.
template <typename T>
struct Run {
  const T *q, *keys, *values;
  T* out;
  int64_t heads;

  Run from_query(int64_t values_further) const {
    return {.q = q + values_further, .keys = keys, .values = values, .out = out + values_further, .heads = heads};
  }
};

// Attends with one query head, in any type and on any processor; the compiler vectorises the loops. `dim` and the page
// size are at most 512.
template <typename T>
void attend_plain(const Item& item, const T* q, const T* keys, const T* values, T* out, int64_t dim) {
  float query[512], sum_v[512], score[512];
  for (int64_t d = 0; d < dim; ++d) {
    query[d] = to_float(q[d]) * item.scale;
    sum_v[d] = 0;
  }
  float highest = LOWEST, sum = 0;
  for (int64_t first = 0; first < item.context; first += item.page_size) {
    const int64_t count = std::min(item.page_size, item.context - first);
    const int64_t at = item.pages[first / item.page_size] * item.page_stride;
    float page_highest = highest;
    for (int64_t t = 0; t < count; ++t) {
      const T* key = keys + at + t * dim;
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t d = 0; d < dim; ++d) dot += query[d] * to_float(key[d]);
      score[t] = dot;
      page_highest = std::max(page_highest, dot);
    }
    const float rescale = std::exp(highest - page_highest);
    highest = page_highest;
    sum *= rescale;
#pragma omp simd
    for (int64_t d = 0; d < dim; ++d) sum_v[d] *= rescale;
    for (int64_t t = 0; t < count; ++t) {
      const T* value = values + at + t * dim;
      const float weight = std::exp(score[t] - highest);
      sum += weight;
#pragma omp simd
      for (int64_t d = 0; d < dim; ++d) sum_v[d] += weight * to_float(value[d]);
    }
  }
  for (int64_t d = 0; d < dim; ++d) from_float(sum_v[d] / sum, out + d);
}

}  // namespace qwen_batch
