// Decode attention with AVX-512, one tile at a time, for query heads that share a kv head.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "read_ahead.h"

namespace qwen_batch {

#if QWEN_BATCH_HAS_AVX512

// Holds the state of one kv head. Scores and weights are [GROUP][BLOCK]; a softmax turns scores into weights.
template <int DIM, int GROUP>
class Attention {
 public:
  explicit Attention(const uint16_t* q) {
    for (int g = 0; g < GROUP; ++g) {
      for (int c = 0; c < CHUNKS; ++c) query_[g][c] = _mm512_loadu_si512(q + g * DIM + c * 32);
      for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = _mm512_setzero_ps();
    }
  }

  // Multiplies the queries with `keys`. Meanwhile `next` is prefetched.
  void score(KvTile keys, KvTile next, float* scores) const {
    TilePrefetcher<DIM> fetch(keys, next, keys.count);
    for (int64_t t = 0; t < keys.count; t += 16) {
      __m512 dots[GROUP];
      dots_of<16>(keys, t, fetch, dots);
      for (int g = 0; g < GROUP; ++g) _mm512_store_ps(scores + g * BLOCK + t, dots[g]);
    }
  }

  // Multiplies the sums so far by `rescale`, then adds the weighted values. Each step takes two rows: it interleaves
  // them and multiplies by a pair of weights.
  void accumulate(KvTile values, KvTile next, const uint16_t* weights, const float* rescale) {
    const int count = static_cast<int>(values.count);
    TilePrefetcher<DIM> fetch(values, next, (count + 1) / 2);
    // Local sums, which unrolled loops copy from and to the members. Without this the compiler writes the sums to
    // memory in every step, which takes longer than the step itself.
    __m512 sums[GROUP][2 * CHUNKS];
#pragma GCC unroll 8
    for (int g = 0; g < GROUP; ++g)
#pragma GCC unroll 8
      for (int c = 0; c < 2 * CHUNKS; ++c) sums[g][c] = _mm512_mul_ps(sum_v_[g][c], _mm512_set1_ps(rescale[g]));
    for (int t = 0; t < count; t += 2) {
      const uint16_t* even = values.rows + t * DIM;
      const uint16_t* odd = t + 1 < count ? even + DIM : ZEROS;
      fetch.step();
      __m512i pairs[GROUP];
      for (int g = 0; g < GROUP; ++g) pairs[g] = _mm512_set1_epi32(pair_at(weights + g * BLOCK + t));
      for (int c = 0; c < CHUNKS; ++c) {
        const __m512i first = _mm512_loadu_si512(even + c * 32), second = _mm512_loadu_si512(odd + c * 32);
        const __m512i low = _mm512_unpacklo_epi16(first, second), high = _mm512_unpackhi_epi16(first, second);
        for (int g = 0; g < GROUP; ++g) {
          sums[g][2 * c] = add_dots(sums[g][2 * c], pairs[g], low);
          sums[g][2 * c + 1] = add_dots(sums[g][2 * c + 1], pairs[g], high);
        }
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < GROUP; ++g)
#pragma GCC unroll 8
      for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = sums[g][c];
  }

  // Writes the result and undoes the interleaving: a quarter of `low` holds values 0 to 3 of eight, the same quarter of
  // `high` holds 4 to 7. `sums`: the sums of the weights.
  void store(const float* sums, uint16_t* out) const {
    for (int g = 0; g < GROUP; ++g) {
      const __m512 inverse = _mm512_set1_ps(1.0f / sums[g]);
      for (int c = 0; c < CHUNKS; ++c) {
        const __m256i low = to_bfloat16(_mm512_mul_ps(sum_v_[g][2 * c], inverse));
        const __m256i high = to_bfloat16(_mm512_mul_ps(sum_v_[g][2 * c + 1], inverse));
        const __m256i first = _mm256_unpacklo_epi64(low, high), second = _mm256_unpackhi_epi64(low, high);
        uint16_t* to = out + g * DIM + c * 32;
        _mm_storeu_si128((__m128i*)to, _mm256_castsi256_si128(first));
        _mm_storeu_si128((__m128i*)(to + 8), _mm256_castsi256_si128(second));
        _mm_storeu_si128((__m128i*)(to + 16), _mm256_extracti128_si256(first, 1));
        _mm_storeu_si128((__m128i*)(to + 24), _mm256_extracti128_si256(second, 1));
      }
    }
  }

 private:
  static constexpr int CHUNKS = DIM / 32;  // registers of 32 bfloat16 values per row

  // Multiplies with N keys, starting at the t-th. Two halves are combined as soon as both are done, so that they stay
  // in registers.
  template <int N>
  [[gnu::always_inline]] void dots_of(KvTile keys, int64_t t, TilePrefetcher<DIM>& fetch, __m512* dots) const {
    if constexpr (N == 1) {
      const uint16_t* key =
          keys.rows + std::min(t, keys.count - 1) * DIM;  // past the end: any valid row, the softmax ignores it
      for (int g = 0; g < GROUP; ++g) dots[g] = _mm512_setzero_ps();
      for (int c = 0; c < CHUNKS; ++c) {
        const __m512i part = _mm512_loadu_si512(key + c * 32);
        for (int g = 0; g < GROUP; ++g) dots[g] = add_dots(dots[g], query_[g][c], part);
      }
      fetch.step();
    } else {
      __m512 first[GROUP], second[GROUP];
      dots_of<N / 2>(keys, t, fetch, first);
      dots_of<N / 2>(keys, t + N / 2, fetch, second);
      for (int g = 0; g < GROUP; ++g)
        dots[g] = combined<N>(first[g], second[g], [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
    }
  }

  alignas(64) static constexpr uint16_t ZEROS[DIM] = {};

  __m512i query_[GROUP][CHUNKS];
  __m512 sum_v_[GROUP][2 * CHUNKS];
};

#endif

}  // namespace qwen_batch
