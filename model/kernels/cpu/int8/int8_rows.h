// Rows of activations, rounded to 8 bits (int8_format.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "int8_format.h"
#include "rows.h"

namespace qwen_batch::int8 {

constexpr float MIN_MAGNITUDE = 1e-30f;  // smaller groups become zero: the inverse of their scale could be infinite

// Returns the offset of the i-th 16 values in a row's group.
inline int64_t place_in_group(int64_t i) { return i * LANES / STEP * TILE + i * LANES % STEP; }

// Rounds one group of a row: 256 values, or fewer at the end of k. Calls `store(i, integers)` for the i-th 16 values.
// Returns the group's scale. It is always inline, because variables that `store` changes would otherwise lie in memory.
template <typename Store>
[[gnu::always_inline]] inline float round_group(const uint16_t* x, int64_t values, const Store& store) {
  Floats parts[GROUP / LANES];
  Floats largest = zeros();
  for (int64_t i = 0; i < GROUP / LANES; ++i) {
    parts[i] = load_some(x + i * LANES, values - i * LANES);
    largest = maximum(largest, magnitude(parts[i]));
  }
  const float max_abs = max_of_lanes(largest);
  const Floats inverse = splat(max_abs > MIN_MAGNITUDE ? 127.0f / max_abs : 0.0f);
  for (int64_t i = 0; i < GROUP / LANES; ++i) store(i, nearest_words(parts[i] * inverse));
  return max_abs / 127.0f;
}

// Quantises one group of a row. Its STEPS tiles lie TILE apart.
inline void quantise_group(const uint16_t* x, int64_t values, RowInteger* out, float& scale, int32_t& offset) {
  Words sum = splat_word(0);
  scale = round_group(x, values, [&](int64_t i, Words rounded) {
    sum = add(sum, rounded);
    store_narrow(out + place_in_group(i), rounded);
  });
  offset = 128 * sum_of_lanes(sum);
}

// Converts 16 quantised values back to float32.
inline Floats restore(const RowInteger* values, float scale) { return to_floats(load_narrow(values)) * splat(scale); }

// Quantised rows in memory of the caller, who fills them with `quantise`.
class QuantisedRows {
 public:
  QuantisedRows(void* memory, int64_t rows, int64_t k) : rows_(rows), k_(k), groups_(groups_of(k)) {
    values_ = static_cast<RowInteger*>(memory);
    scales_ = reinterpret_cast<float*>(values_ + padded() * groups_ * GROUP);
    offsets_ = reinterpret_cast<int32_t*>(scales_ + padded() * groups_);
  }

  static int64_t bytes(int64_t rows, int64_t k) {
    return padded(rows) * groups_of(k) * (GROUP * sizeof(RowInteger) + sizeof(float) + sizeof(int32_t));
  }

  // Number of groups to quantise. Tiles also need zeros in the rows beyond the last, up to a multiple of TILE_ROWS.
  int64_t pieces(bool for_tiles) const { return (for_tiles ? padded() : rows_) * groups_; }

  // Quantises a group of x [rows, k]. In a row beyond the last it becomes zero, and its scale is never used.
  void quantise(const uint16_t* x, int64_t piece) {
    const int64_t row = piece / groups_, g = piece % groups_;
    RowInteger* out = values_ + (row / TILE_ROWS * groups_ + g) * STEPS * TILE + row % TILE_ROWS * STEP;
    const int64_t values = row < rows_ ? std::min(GROUP, k_ - g * GROUP) : 0;
    quantise_group(x + (row < rows_ ? row * k_ + g * GROUP : 0), values, out, scales_[piece], offsets_[piece]);
  }

  // Converts 16 values of a quantised row back to float32: the i-th 16 of a group.
  Floats restored(int64_t row, int64_t group, int64_t i) const {
    const RowInteger* values =
        values_ + (row / TILE_ROWS * groups_ + group) * STEPS * TILE + row % TILE_ROWS * STEP + place_in_group(i);
    return restore(values, scales_[row * groups_ + group]);
  }

  Rows view() const {
    return {.tiles = values_, .scales = scales_, .offsets = offsets_, .count = rows_, .groups = groups_};
  }

 private:
  int64_t padded() const { return padded(rows_); }
  static int64_t padded(int64_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; }
  static int64_t groups_of(int64_t k) { return (k + GROUP - 1) / GROUP; }

  int64_t rows_, k_, groups_;
  RowInteger* values_;
  float* scales_;
  int32_t* offsets_;
};

}  // namespace qwen_batch::int8
