// Decode attention of a group of query heads that share a kv head, by AVX512-BF16, a portion at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "read_ahead.h"

namespace qwen_batch {

#if QWEN_BATCH_HAS_AVX512_BF16

template <int DIM, int GROUP>
class Attention {
 public:
  Attention(const Item& item, const uint16_t* q) : scale_(item.scale) {
    for (int g = 0; g < GROUP; ++g) {
      for (int c = 0; c < CHUNKS; ++c) query_[g][c] = (__m512bh)_mm512_loadu_si512(q + g * DIM + c * 32);
      for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = _mm512_setzero_ps();
      highest_[g] = LOWEST;
      sum_[g] = 0;
    }
  }

  // Keys to scores, then to weights. `ahead` is fetched meanwhile.
  void weigh(Portion keys, Portion ahead) {
    score(keys, ahead);
    soften(static_cast<int>(keys.count));
  }

  // Two value rows a step: their interleaved halves against the pair of weights.
  void accumulate(Portion values, Portion ahead) {
    const int count = static_cast<int>(values.count);
    Fetch<DIM> fetch(ahead, (count + 1) / 2);
    __m512 sums[GROUP][2 * CHUNKS];  // not the members, which the compiler would write to memory in every step
    std::memcpy(sums, sum_v_, sizeof sums);
    for (int t = 0; t < count; t += 2) {
      const uint16_t* row = values.rows + t * DIM;
      fetch.step();
      __m512bh weights[GROUP];
      for (int g = 0; g < GROUP; ++g) {
        int32_t pair;
        std::memcpy(&pair, &weight_[g][t], sizeof pair);
        weights[g] = (__m512bh)_mm512_set1_epi32(pair);
      }
      for (int c = 0; c < CHUNKS; ++c) {
        const __m512i even = _mm512_loadu_si512(row + c * 32);
        const __m512i odd = t + 1 < count ? _mm512_loadu_si512(row + DIM + c * 32) : _mm512_setzero_si512();
        const __m512bh low = (__m512bh)_mm512_unpacklo_epi16(even, odd);
        const __m512bh high = (__m512bh)_mm512_unpackhi_epi16(even, odd);
        for (int g = 0; g < GROUP; ++g) {
          sums[g][2 * c] = _mm512_dpbf16_ps(sums[g][2 * c], weights[g], low);
          sums[g][2 * c + 1] = _mm512_dpbf16_ps(sums[g][2 * c + 1], weights[g], high);
        }
      }
    }
    std::memcpy(sum_v_, sums, sizeof sums);
  }

  // Undo the interleaving: a quarter of `low` holds values 0 to 3 of its eight, the same quarter of `high` 4 to 7.
  void store(uint16_t* out) const {
    for (int g = 0; g < GROUP; ++g) {
      const __m512 inverse = _mm512_set1_ps(1.0f / sum_[g]);
      for (int c = 0; c < CHUNKS; ++c) {
        const __m256i low = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(sum_v_[g][2 * c], inverse));
        const __m256i high = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(sum_v_[g][2 * c + 1], inverse));
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
  static constexpr int CHUNKS = DIM / 32;  // registers of 32 bfloat16 values a row

  void score(Portion keys, Portion ahead) {
    Fetch<DIM> fetch(ahead, keys.count);
    for (int64_t t = 0; t < keys.count; t += 16) {
      __m512 dots[GROUP];
      dots_of<16>(keys, t, fetch, dots);
      for (int g = 0; g < GROUP; ++g) _mm512_store_ps(&score_[g][t], dots[g]);
    }
  }

  // Products with N keys from the t-th on. Halves are combined as soon as both are there, so that they stay in registers.
  template <int N>
  [[gnu::always_inline]] void dots_of(Portion keys, int64_t t, Fetch<DIM>& fetch, __m512* dots) {
    if constexpr (N == 1) {
      const uint16_t* key = keys.rows + std::min(t, keys.count - 1) * DIM;  // beyond the last: any valid row, masked later
      for (int g = 0; g < GROUP; ++g) dots[g] = _mm512_setzero_ps();
      for (int c = 0; c < CHUNKS; ++c) {
        const __m512bh part = (__m512bh)_mm512_loadu_si512(key + c * 32);
        for (int g = 0; g < GROUP; ++g) dots[g] = _mm512_dpbf16_ps(dots[g], query_[g][c], part);
      }
      fetch.step();
    } else {
      __m512 first[GROUP], second[GROUP];
      dots_of<N / 2>(keys, t, fetch, first);
      dots_of<N / 2>(keys, t + N / 2, fetch, second);
      for (int g = 0; g < GROUP; ++g) dots[g] = combined<N>(first[g], second[g], [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
    }
  }

  void soften(int count) {
    for (int g = 0; g < GROUP; ++g) {
      __m512 scores[BLOCK / 16];
      __m512 most = _mm512_set1_ps(highest_[g]);
      for (int t = 0; t < count; t += 16) {
        const __mmask16 valid = first_lanes(count - t);
        const __m512 lowest = _mm512_set1_ps(LOWEST);
        scores[t / 16] = _mm512_mask_mul_ps(lowest, valid, _mm512_load_ps(&score_[g][t]), _mm512_set1_ps(scale_));
        most = _mm512_max_ps(most, scores[t / 16]);
      }
      const float highest = _mm512_reduce_max_ps(most);
      const float shrink = std::exp(highest_[g] - highest);
      __m512 sum = _mm512_setzero_ps();
      for (int t = 0; t < count; t += 16) {
        const __mmask16 valid = first_lanes(count - t);
        const __m512 below = _mm512_sub_ps(scores[t / 16], _mm512_set1_ps(highest));
        const __m512 weight = _mm512_maskz_mov_ps(valid, exp_of_negative(below));
        sum = _mm512_add_ps(sum, weight);
        _mm256_store_si256((__m256i*)&weight_[g][t], (__m256i)_mm512_cvtneps_pbh(weight));
      }
      highest_[g] = highest;
      sum_[g] = sum_[g] * shrink + _mm512_reduce_add_ps(sum);
      if (shrink != 1.0f)
        for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = _mm512_mul_ps(sum_v_[g][c], _mm512_set1_ps(shrink));
    }
  }

  const float scale_;
  __m512bh query_[GROUP][CHUNKS];
  __m512 sum_v_[GROUP][2 * CHUNKS];
  float highest_[GROUP], sum_[GROUP];
  alignas(64) float score_[GROUP][BLOCK];
  alignas(64) uint16_t weight_[GROUP][BLOCK];
};

#endif

}  // namespace qwen_batch
