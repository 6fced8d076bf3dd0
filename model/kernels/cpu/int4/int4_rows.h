// Rows of activations, rounded to 8 bits for products with 4-bit weights (int4_format.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "int4_format.h"
#include "int8_rows.h"

namespace qwen_batch::int4 {

// Quantised rows in memory of the caller, who fills them with `quantise`.
class Rows {
 public:
  static constexpr int64_t TOGETHER = 16;  // so many rows lie side by side, and their values of a quad STRIDE apart
  static constexpr int64_t STRIDE = GROUP;

  Rows(void* memory, int64_t rows, int64_t k) : count_(rows), k_(k), row_groups_((k + ROW_GROUP - 1) / ROW_GROUP) {
    values_ = static_cast<int8_t*>(memory);
    scales_ = reinterpret_cast<float*>(values_ + padded(rows) * row_groups_ * ROW_GROUP);
    sums_ = scales_ + padded(rows) * row_groups_;
  }

  static int64_t bytes(int64_t rows, int64_t k) {
    const int64_t groups = padded(rows) * ((k + ROW_GROUP - 1) / ROW_GROUP);
    return groups * (ROW_GROUP + static_cast<int64_t>((1 + GROUPS_PER_ROW_GROUP) * sizeof(float)));
  }

  int64_t count() const { return count_; }
  int64_t pieces() const { return count_ * row_groups_; }  // number of groups of ROW_GROUP values to quantise

  // The values of a group of a row: [GROUP], and those of the next rows STRIDE apart, up to a multiple of TOGETHER.
  const int8_t* values(int64_t row, int64_t group) const {
    return values_ + (row / TOGETHER * groups() + group) * TOGETHER * STRIDE + row % TOGETHER * STRIDE;
  }
  float scale(int64_t row, int64_t row_group) const { return scales_[row * row_groups_ + row_group]; }
  float sum(int64_t row, int64_t group) const { return sums_[row * groups() + group]; }

  // Quantises a group of ROW_GROUP values of x [rows, k], or what is left of them at the end of a row.
  void quantise(const uint16_t* x, int64_t piece) {
    const int64_t row = piece / row_groups_, g = piece % row_groups_;
    Words sum = splat_word(0);
    const auto keep = [&](int64_t i, Words rounded) {
      const int64_t group = g * GROUPS_PER_ROW_GROUP + i / 2;
      store_narrow(const_cast<int8_t*>(values(row, group)) + i % 2 * LANES, rounded);
      sum = i % 2 == 0 ? rounded : add(sum, rounded);
      if (i % 2 != 0) sums_[row * groups() + group] = static_cast<float>(sum_of_lanes(sum));
    };
    const int64_t count = std::min(ROW_GROUP, k_ - g * ROW_GROUP);
    scales_[piece] = int8::round_group(x + row * k_ + g * ROW_GROUP, count, keep);
  }

 private:
  static int64_t padded(int64_t rows) { return (rows + TOGETHER - 1) / TOGETHER * TOGETHER; }
  int64_t groups() const { return row_groups_ * GROUPS_PER_ROW_GROUP; }

  int64_t count_, k_, row_groups_;
  int8_t* values_;
  float *scales_, *sums_;
};

}  // namespace qwen_batch::int4
