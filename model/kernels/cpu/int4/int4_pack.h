// Rounds a weight to 4 bits in the form of model/ops/int4.py, and packs this form into the form of the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <torch/headeronly/util/Half.h>

#include "int4_format.h"
#include "rows.h"

namespace qwen_batch::int4 {

constexpr float MAX_FLOAT16 = 65504.0f;
constexpr int FITS = 3;                                            // `_FITS` in Python
constexpr int64_t PLAIN_BYTES = GROUP / 2 + 2 * sizeof(uint16_t);  // codes, then scale and minimum of a group

inline uint16_t to_float16(float value) { return torch::headeronly::Half(value).x; }
inline float to_float32(uint16_t float16) {
  return static_cast<float>(torch::headeronly::Half(float16, torch::headeronly::Half::from_bits()));
}

typedef float FourFloats __attribute__((vector_size(16)));
typedef int32_t FourWords __attribute__((vector_size(16)));
typedef double FourDoubles __attribute__((vector_size(32)));

// A group of values with the scale and minimum that stand for them.
class GroupRounding {
 public:
  // The steps between codes divide the distance between the lowest and the highest value evenly.
  explicit GroupRounding(const float* values) : values_(values) {
    const Floats first = load(values), second = load(values + LANES);
    const float high = max_of_lanes(maximum(first, second));
    const float low = -max_of_lanes(maximum(zeros() - first, zeros() - second));
    set((high - low) / 15.0f, -low);
  }

  const uint16_t* halves() const { return halves_; }  // float16 scale and minimum
  uint8_t code(int64_t i) const { return static_cast<uint8_t>(codes_[i]); }

  // Takes the scale and minimum with the least squared error for the present codes (`_fitted` in Python).
  void fit() {
    int32_t of_codes = 0, of_squares = 0;
    FourDoubles values{}, products{};
    for (int64_t i = 0; i < GROUP; i += 4) {
      FourFloats four;
      FourWords codes;
      std::memcpy(&four, values_ + i, sizeof four);
      std::memcpy(&codes, codes_ + i, sizeof codes);
      values += __builtin_convertvector(four, FourDoubles);
      products += __builtin_convertvector(four, FourDoubles) * __builtin_convertvector(codes, FourDoubles);
    }
    for (int64_t i = 0; i < GROUP; ++i) of_codes += codes_[i], of_squares += codes_[i] * codes_[i];
    const double of_values = values[0] + values[1] + values[2] + values[3];
    const double of_products = products[0] + products[1] + products[2] + products[3];
    const double spread = GROUP * of_squares - of_codes * of_codes;
    const double slope = (GROUP * of_products - of_codes * of_values) / spread;
    const double offset = (of_codes * of_products - of_squares * of_values) / spread;
    if (spread > 0 && slope > 0 && slope < MAX_FLOAT16 && std::abs(offset) < MAX_FLOAT16)
      set(static_cast<float>(slope), static_cast<float>(offset));
  }

 private:
  void set(float scale, float minimum) {
    halves_[0] = to_float16(std::min(scale, MAX_FLOAT16) + 0.0f);  // no zero is negative
    halves_[1] = to_float16(std::clamp(minimum, -MAX_FLOAT16, MAX_FLOAT16) + 0.0f);
    const float rounded = to_float32(halves_[0]), inverse = rounded > 0.0f ? 1.0f / rounded : 0.0f;
    const Floats shift = splat(to_float32(halves_[1]));
    for (int64_t i = 0; i < GROUP; i += LANES) {
      const Floats steps = maximum((load(values_ + i) + shift) * splat(inverse), zeros());
      store_words(codes_ + i, nearest_words(zeros() - maximum(zeros() - steps, splat(-15.0f))));
    }
  }

  const float* values_;
  uint16_t halves_[2];
  alignas(64) int32_t codes_[GROUP];
};

// Rounds a row of k values to groups [groups, PLAIN_BYTES], as `quantise_weight` does in Python.
inline void quantise_plain(const uint16_t* row, int64_t k, uint8_t* plain) {
  for (int64_t at = 0; at < k; at += GROUP, plain += PLAIN_BYTES) {
    alignas(64) float values[GROUP];
    for (int64_t i = 0; i < GROUP; i += LANES) store(values + i, load_some(row + at + i, k - at - i));
    GroupRounding rounding(values);
    for (int fit = 0; fit < FITS; ++fit) rounding.fit();
    for (int64_t i = 0; i < GROUP / 2; ++i)
      plain[i] = static_cast<uint8_t>(rounding.code(i) | rounding.code(i + GROUP / 2) << 4);
    std::memcpy(plain + GROUP / 2, rounding.halves(), 2 * sizeof(uint16_t));
  }
}

// Packs `columns` (at most COLUMNS) columns [groups, PLAIN_BYTES] into a block [groups, GROUP_BYTES]. Missing columns
// are zero. In the plain form, byte i holds values i (lower half) and i + 16 (upper half).
inline void pack_block(const uint8_t* plain, int64_t columns, int64_t groups, uint8_t* block) {
  std::memset(block, 0, groups * GROUP_BYTES);
  for (int64_t g = 0; g < groups; ++g, block += GROUP_BYTES)
    for (int64_t c = 0; c < columns; ++c) {
      const uint8_t* group = plain + (c * groups + g) * PLAIN_BYTES;
      uint8_t* side = block + c / 16 * SIDE_BYTES + c % 16 * QUAD;
      const auto code = [group](int64_t i) { return i < GROUP / 2 ? group[i] & 15 : group[i - GROUP / 2] >> 4; };
      for (int64_t line = 0; line < LINES; ++line)
        for (int64_t i = 0; i < QUAD; ++i) {
          const int64_t first = 2 * line * QUAD + i;
          side[line * 64 + i] = static_cast<uint8_t>(code(first) | code(first + QUAD) << 4);
        }
      std::memcpy(block + CODE_BYTES + c * sizeof(uint16_t), group + GROUP / 2, sizeof(uint16_t));
      std::memcpy(block + CODE_BYTES + (COLUMNS + c) * sizeof(uint16_t), group + GROUP / 2 + 2, sizeof(uint16_t));
    }
}

struct Format {  // see quantised_weight.h
  static constexpr int64_t VALUES = GROUP, PLAIN_BYTES = int4::PLAIN_BYTES, PACKED_BYTES = GROUP_BYTES;
  static constexpr auto round_row = quantise_plain;
  static constexpr auto pack_block = int4::pack_block;
};

}  // namespace qwen_batch::int4
