// Decode attention of a group of query heads that share a kv head, by AVX512-BF16, 64 tokens at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "plain_attention.h"

namespace qwen_batch {

constexpr int64_t BLOCK = 64;  // tokens a round; pages are multiples of it

#if QWEN_BATCH_HAS_AVX512_BF16

// To the first-level cache, which is a tenth faster on a Zen 5; on Xeons with AMX to the second, because keys and values of two
// hyperthreads do not fit into the first one (both measured with benchmarks/decode_attention.py).
#ifdef __AMX_TILE__
constexpr auto NEAR_CACHE = _MM_HINT_T1;
#else
constexpr auto NEAR_CACHE = _MM_HINT_T0;
#endif

inline void prefetch(const uint16_t* row, int64_t dim) {
  for (int64_t d = 0; d < dim; d += 32) _mm_prefetch(reinterpret_cast<const char*>(row + d), NEAR_CACHE);
}

// Rows that are read next.
struct Ahead {
  const uint16_t* rows;
  int64_t count;
};

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

  // Keys [count, DIM] to scores, then to weights.
  void weigh(const uint16_t* keys, int count, Ahead ahead) {
    score(keys, count, ahead);
    soften(count);
  }

  // Two value rows a step: their interleaved halves against the pair of weights.
  void accumulate(const uint16_t* values, int count, Ahead ahead) {
    const int64_t rows = std::min<int64_t>(BLOCK, ahead.count), rows_a_step = 2 * ((rows + count - 1) / count);
    for (int t = 0; t < count; t += 2) {
      const uint16_t* row = values + t * DIM;
      const int64_t fetched = t / 2 * rows_a_step;
      for (int64_t i = fetched; i < std::min(fetched + rows_a_step, rows); ++i) prefetch(ahead.rows + i * DIM, DIM);
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
          sum_v_[g][2 * c] = _mm512_dpbf16_ps(sum_v_[g][2 * c], weights[g], low);
          sum_v_[g][2 * c + 1] = _mm512_dpbf16_ps(sum_v_[g][2 * c + 1], weights[g], high);
        }
      }
    }
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

  void score(const uint16_t* keys, int count, Ahead ahead) {
    for (int t = 0; t < count; t += 16) {
      __m512 dots[GROUP][16];
      for (int j = 0; j < 16; ++j) {
        const uint16_t* key = keys + std::min(t + j, count - 1) * DIM;  // beyond the last: any valid row, masked later
        for (int g = 0; g < GROUP; ++g) dots[g][j] = _mm512_setzero_ps();
        for (int c = 0; c < CHUNKS; ++c) {
          const __m512bh part = (__m512bh)_mm512_loadu_si512(key + c * 32);
          for (int g = 0; g < GROUP; ++g) dots[g][j] = _mm512_dpbf16_ps(dots[g][j], query_[g][c], part);
        }
        if (t + j < ahead.count) prefetch(ahead.rows + (t + j) * DIM, DIM);
      }
      for (int g = 0; g < GROUP; ++g) _mm512_store_ps(&score_[g][t], sums_of_16(dots[g]));
    }
  }

  void soften(int count) {
    for (int g = 0; g < GROUP; ++g) {
      __m512 scores[BLOCK / 16];
      __m512 most = _mm512_set1_ps(highest_[g]);
      for (int t = 0; t < count; t += 16) {
        const __mmask16 valid = count - t >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - t)) - 1);
        const __m512 lowest = _mm512_set1_ps(LOWEST);
        scores[t / 16] = _mm512_mask_mul_ps(lowest, valid, _mm512_load_ps(&score_[g][t]), _mm512_set1_ps(scale_));
        most = _mm512_max_ps(most, scores[t / 16]);
      }
      const float highest = _mm512_reduce_max_ps(most);
      const float shrink = std::exp(highest_[g] - highest);
      __m512 sum = _mm512_setzero_ps();
      for (int t = 0; t < count; t += 16) {
        const __mmask16 valid = count - t >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - t)) - 1);
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
