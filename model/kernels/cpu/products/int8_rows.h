// Rows of activations in 8 bits (int8_format.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "int8_format.h"
#include "int8_vectors.h"
#include "rows.h"

#if QWEN_BATCH_HAS_VNNI

namespace qwen_batch::int8 {

constexpr float MIN_MAGNITUDE = 1e-30f;  // smaller groups become zero: the inverse of their scale could be infinite

// Returns the offset of the i-th 16 values in a row's group.
inline int64_t place_in_group(int64_t i) { return i * LANES / STEP * TILE + i * LANES % STEP; }

// Quantises one group of a row: 256 values, or fewer at the end of k. The bytes of its STEPS tiles lie TILE apart.
inline void quantise_group(const uint16_t* x, int64_t values, int8_t* out, float& scale, int32_t& offset) {
  __m512 parts[GROUP / LANES];
  __m512 largest = _mm512_setzero_ps();
  for (int64_t i = 0; i < GROUP / LANES; ++i) {
    parts[i] = load_some(x + i * LANES, values - i * LANES);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(parts[i]));
  }
  const float max_abs = _mm512_reduce_max_ps(largest);
  scale = max_abs / 127.0f;
  const __m512 inverse = _mm512_set1_ps(max_abs > MIN_MAGNITUDE ? 127.0f / max_abs : 0.0f);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < GROUP / LANES; ++i) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(parts[i], inverse));
    sum = _mm512_add_epi32(sum, rounded);
    _mm_storeu_si128((__m128i*)(out + place_in_group(i)), _mm512_cvtsepi32_epi8(rounded));
  }
  offset = 128 * _mm512_reduce_add_epi32(sum);
}

// Converts 16 quantised values back to float32.
inline __m512 restore(const int8_t* bytes, float scale) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)bytes))),
                       _mm512_set1_ps(scale));
}

// Quantised rows in memory of the caller, who fills them with `quantise`.
class QuantisedRows {
 public:
  QuantisedRows(void* memory, int64_t rows, int64_t k) : rows_(rows), k_(k), groups_(groups_of(k)) {
    values_ = static_cast<int8_t*>(memory);
    scales_ = reinterpret_cast<float*>(values_ + padded() * groups_ * GROUP);
    offsets_ = reinterpret_cast<int32_t*>(scales_ + padded() * groups_);
  }

  static int64_t bytes(int64_t rows, int64_t k) {
    return QuantisedRows(nullptr, rows, k).padded() * groups_of(k) * (GROUP + 8);
  }

  int64_t padded() const { return (rows_ + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; }

  // Quantises one row of x [rows, k]. A row beyond the last becomes zero; its scales are never used.
  void quantise(const uint16_t* x, int64_t row) {
    for (int64_t g = 0; g < groups_; ++g) {
      int8_t* out = values_ + (row / TILE_ROWS * groups_ + g) * STEPS * TILE + row % TILE_ROWS * STEP;
      const int64_t values = row < rows_ ? std::min(GROUP, k_ - g * GROUP) : 0, at = row * groups_ + g;
      quantise_group(x + (row < rows_ ? row * k_ + g * GROUP : 0), values, out, scales_[at], offsets_[at]);
    }
  }

  // Converts 16 values of a quantised row back to float32: the i-th 16 of a group.
  __m512 restored(int64_t row, int64_t group, int64_t i) const {
    const int8_t* bytes =
        values_ + (row / TILE_ROWS * groups_ + group) * STEPS * TILE + row % TILE_ROWS * STEP + place_in_group(i);
    return restore(bytes, scales_[row * groups_ + group]);
  }

  Rows view() const {
    return {.tiles = values_, .scales = scales_, .offsets = offsets_, .count = rows_, .groups = groups_};
  }

 private:
  static int64_t groups_of(int64_t k) { return (k + GROUP - 1) / GROUP; }

  int64_t rows_, k_, groups_;
  int8_t* values_;
  float* scales_;
  int32_t* offsets_;
};

}  // namespace qwen_batch::int8

#endif
