// The online softmax of a block of queries, 16 rows at a time. Each row's bits depend on that row alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector_math.h"

#if QWEN_BATCH_HAS_AVX512

namespace qwen_batch {

// How many keys of a block each row sees: `first_row` for the first row, `more_per_row` more for each further row.
struct VisibleKeys {
  int first_row, more_per_row;

  int to(int row) const { return first_row + row * more_per_row; }
};

// The softmax of ROWS queries, whose keys arrive in blocks of KEYS. Sums and maxima are carried from block to block.
template <int ROWS, int KEYS>
class SoftmaxRows {
  static_assert(ROWS % 16 == 0 && KEYS % 16 == 0);

 public:
  SoftmaxRows() {
    std::fill(highest_, highest_ + ROWS, LOWEST);
    std::fill(sum_, sum_ + ROWS, 0.0f);
  }

  // Turns scores [rows, KEYS] into weights [rows, KEYS] in bfloat16. Keys that a row does not see do not change that
  // row. `scale` is the scale of the scores times log2(e).
  void online_softmax(const float* scores, uint16_t* weights, int rows, VisibleKeys visible, float scale) {
    for (int row = 0; row < rows; row += 16) {
      if (visible.to(row) >= KEYS)
        softmax_16_rows<true>(scores, weights, row, std::min(16, rows - row), visible, scale);
      else softmax_16_rows<false>(scores, weights, row, std::min(16, rows - row), visible, scale);
    }
  }

  // Per row: the factor that sums from earlier blocks must be multiplied by after `online_softmax`, and the sum of the
  // weights.
  const float* rescale_factors() const { return rescale_; }
  const float* sums() const { return sum_; }

 private:
  static constexpr int PARTS = KEYS / 16;

  // Handles up to 16 rows. FULL: every row sees all keys.
  template <bool FULL>
  void softmax_16_rows(const float* scores, uint16_t* weights, int first, int rows, VisibleKeys visible, float scale) {
    const __m512 scales = _mm512_set1_ps(scale), lowest = _mm512_set1_ps(LOWEST);
    const auto score = [&](int row, int part) {
      const __m512 raw = _mm512_loadu_ps(scores + row * KEYS + part * 16);
      return FULL ? raw : _mm512_mask_mov_ps(lowest, first_lanes(visible.to(row) - part * 16), raw);
    };
    __m512 of_rows[16];
    for (int r = 0; r < 16; ++r) {
      of_rows[r] = lowest;
      if (r < rows)
        for (int part = 0; part < PARTS; ++part) of_rows[r] = _mm512_max_ps(of_rows[r], score(first + r, part));
    }
    const __m512 before = _mm512_loadu_ps(highest_ + first);
    const __m512 highest = _mm512_max_ps(before, _mm512_mul_ps(maxima_of_16(of_rows), scales));
    const __m512 rescale = exp2_of_negative(_mm512_sub_ps(before, highest));
    _mm512_storeu_ps(highest_ + first, highest);
    _mm512_storeu_ps(rescale_ + first, rescale);
    for (int r = 0; r < 16; ++r)
      of_rows[r] = r < rows ? exponentiate<FULL>(scores, weights, first + r, visible, scale) : _mm512_setzero_ps();
    _mm512_storeu_ps(sum_ + first, _mm512_fmadd_ps(_mm512_loadu_ps(sum_ + first), rescale, sums_of_16(of_rows)));
  }

  // Writes one row's weights. Returns their sums per lane.
  template <bool FULL>
  __m512 exponentiate(const float* scores, uint16_t* weights, int row, VisibleKeys visible, float scale) const {
    const __m512 scales = _mm512_set1_ps(scale), highest = _mm512_set1_ps(highest_[row]);
    __m512 sum = _mm512_setzero_ps();
    for (int part = 0; part < PARTS; ++part) {
      __m512 weight =
          exp2_of_negative(_mm512_fmsub_ps(_mm512_loadu_ps(scores + row * KEYS + part * 16), scales, highest));
      if (!FULL) weight = _mm512_maskz_mov_ps(first_lanes(visible.to(row) - part * 16), weight);
      sum = _mm512_add_ps(sum, weight);
      _mm256_storeu_si256((__m256i*)(weights + row * KEYS + part * 16), to_bfloat16(weight));
    }
    return sum;
  }

  float highest_[ROWS], sum_[ROWS], rescale_[ROWS];
};

}  // namespace qwen_batch

#endif
