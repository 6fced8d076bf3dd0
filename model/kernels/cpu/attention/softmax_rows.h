// The online softmax of a block of queries in attention, 16 rows at a time. Each row's bits depend on it alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector_math.h"

#if QWEN_BATCH_HAS_AVX512

namespace qwen_batch {

// How many of a block's keys the first row sees, and how many more each further row.
struct Seen {
  int first, more_a_row;

  int by(int row) const { return first + row * more_a_row; }
};

// ROWS queries meet their keys KEYS at a time; sums and maxima go on from block to block.
template <int ROWS, int KEYS>
class SoftmaxRows {
  static_assert(ROWS % 16 == 0 && KEYS % 16 == 0);

 public:
  SoftmaxRows() {
    std::fill(highest_, highest_ + ROWS, LOWEST);
    std::fill(sum_, sum_ + ROWS, 0.0f);
  }

  // Scores [rows, KEYS] to weights [rows, KEYS] in bfloat16; what a row does not see changes nothing in it. `scale` is that of
  // the scores times log2(e).
  void soften(const float* scores, uint16_t* weights, int rows, Seen seen, float scale) {
    for (int row = 0; row < rows; row += 16) {
      if (seen.by(row) >= KEYS) sixteen<true>(scores, weights, row, std::min(16, rows - row), seen, scale);
      else sixteen<false>(scores, weights, row, std::min(16, rows - row), seen, scale);
    }
  }

  // By row: what its sums so far must be multiplied by after `soften`, and the sum of its weights.
  const float* shrinks() const { return shrink_; }
  const float* sums() const { return sum_; }

 private:
  static constexpr int PARTS = KEYS / 16;

  // 16 rows, or as many as are left; FULL: they all see every key.
  template <bool FULL>
  void sixteen(const float* scores, uint16_t* weights, int first, int rows, Seen seen, float scale) {
    const __m512 scales = _mm512_set1_ps(scale), lowest = _mm512_set1_ps(LOWEST);
    const auto score = [&](int row, int part) {
      const __m512 raw = _mm512_loadu_ps(scores + row * KEYS + part * 16);
      return FULL ? raw : _mm512_mask_mov_ps(lowest, first_lanes(seen.by(row) - part * 16), raw);
    };
    __m512 of_rows[16];
    for (int r = 0; r < 16; ++r) {
      of_rows[r] = lowest;
      if (r < rows)
        for (int part = 0; part < PARTS; ++part) of_rows[r] = _mm512_max_ps(of_rows[r], score(first + r, part));
    }
    const __m512 before = _mm512_loadu_ps(highest_ + first);
    const __m512 highest = _mm512_max_ps(before, _mm512_mul_ps(maxima_of_16(of_rows), scales));
    const __m512 shrink = exp2_of_negative(_mm512_sub_ps(before, highest));
    _mm512_storeu_ps(highest_ + first, highest);
    _mm512_storeu_ps(shrink_ + first, shrink);
    for (int r = 0; r < 16; ++r) of_rows[r] = r < rows ? weigh<FULL>(scores, weights, first + r, seen, scale) : _mm512_setzero_ps();
    _mm512_storeu_ps(sum_ + first, _mm512_fmadd_ps(_mm512_loadu_ps(sum_ + first), shrink, sums_of_16(of_rows)));
  }

  // One row's weights; their sums by lane come back.
  template <bool FULL>
  __m512 weigh(const float* scores, uint16_t* weights, int row, Seen seen, float scale) const {
    const __m512 scales = _mm512_set1_ps(scale), highest = _mm512_set1_ps(highest_[row]);
    __m512 sum = _mm512_setzero_ps();
    for (int part = 0; part < PARTS; ++part) {
      __m512 weight = exp2_of_negative(_mm512_fmsub_ps(_mm512_loadu_ps(scores + row * KEYS + part * 16), scales, highest));
      if (!FULL) weight = _mm512_maskz_mov_ps(first_lanes(seen.by(row) - part * 16), weight);
      sum = _mm512_add_ps(sum, weight);
      _mm256_storeu_si256((__m256i*)(weights + row * KEYS + part * 16), to_bfloat16(weight));
    }
    return sum;
  }

  float highest_[ROWS], sum_[ROWS], shrink_[ROWS];
};

}  // namespace qwen_batch

#endif
