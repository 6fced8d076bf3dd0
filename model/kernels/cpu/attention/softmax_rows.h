// The online softmax of a block of queries, 16 rows at a time. Each row's bits depend on that row alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector_math.h"

namespace qwen_batch {

// How many keys of a block each row sees: `first_row` for the first row, `more_per_row` more for each further row.
struct VisibleKeys {
  int first_row, more_per_row;

  int to(int row) const { return first_row + row * more_per_row; }
};

// Stores 16 weights, rounded to bfloat16.
inline void store_weights(uint16_t* to, Floats weights) { store_halves(to, to_bfloat16(weights)); }
inline void store_weights(float* to, Floats weights) { store(to, from_bfloat16(to_bfloat16(weights))); }

// The softmax of ROWS queries, whose keys arrive in blocks of KEYS. Sums and maxima are carried from block to block.
template <int ROWS, int KEYS>
class SoftmaxRows {
  static_assert(ROWS % 16 == 0 && KEYS % 16 == 0);

 public:
  SoftmaxRows() {
    std::fill(highest_, highest_ + ROWS, LOWEST);
    std::fill(sum_, sum_ + ROWS, 0.0f);
  }

  // Turns scores [rows, KEYS] into weights [rows, KEYS], rounded to bfloat16. Keys that a row does not see do not
  // change that row. `scale` is the scale of the scores times log2(e).
  void online_softmax(const float* scores, RowValue* weights, int rows, VisibleKeys visible, float scale) {
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
  void softmax_16_rows(const float* scores, RowValue* weights, int first, int rows, VisibleKeys visible, float scale) {
    const Floats scales = splat(scale), lowest = splat(LOWEST);
    const auto score = [&](int row, int part) {
      const Floats raw = load(scores + row * KEYS + part * 16);
      return FULL ? raw : where(first_lanes(visible.to(row) - part * 16), raw, lowest);
    };
    Floats of_rows[16];
    for (int r = 0; r < 16; ++r) {
      of_rows[r] = lowest;
      if (r < rows)
        for (int part = 0; part < PARTS; ++part) of_rows[r] = maximum(of_rows[r], score(first + r, part));
    }
    const Floats before = load(highest_ + first);
    const Floats highest = maximum(before, maxima_of_16(of_rows) * scales);
    const Floats rescale = exp2_of_negative(before - highest);
    store(highest_ + first, highest);
    store(rescale_ + first, rescale);
    for (int r = 0; r < 16; ++r)
      of_rows[r] = r < rows ? exponentiate<FULL>(scores, weights, first + r, visible, scale) : zeros();
    store(sum_ + first, multiply_add(load(sum_ + first), rescale, sums_of_16(of_rows)));
  }

  // Writes one row's weights. Returns their sums per lane.
  template <bool FULL>
  Floats exponentiate(const float* scores, RowValue* weights, int row, VisibleKeys visible, float scale) const {
    const Floats scales = splat(scale), highest = splat(highest_[row]);
    Floats sum = zeros();
    for (int part = 0; part < PARTS; ++part) {
      Floats weight = exp2_of_negative(multiply_subtract(load(scores + row * KEYS + part * 16), scales, highest));
      if (!FULL) weight = where(first_lanes(visible.to(row) - part * 16), weight, zeros());
      sum = sum + weight;
      store_weights(weights + row * KEYS + part * 16, weight);
    }
    return sum;
  }

  float highest_[ROWS], sum_[ROWS], rescale_[ROWS];
};

}  // namespace qwen_batch
