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
constexpr int64_t PLAIN_BYTES = GROUP / 2 + 2 * sizeof(uint16_t);  // codes, then scale and minimum of a group

inline uint16_t to_float16(float value) { return torch::headeronly::Half(value).x; }
inline float to_float32(uint16_t float16) {
  return static_cast<float>(torch::headeronly::Half(float16, torch::headeronly::Half::from_bits()));
}

// Rounds a row of k values to groups [groups, PLAIN_BYTES], as `quantise_weight` does in Python.
inline void quantise_plain(const uint16_t* row, int64_t k, uint8_t* plain) {
  for (int64_t at = 0; at < k; at += GROUP, plain += PLAIN_BYTES) {
    alignas(64) float values[GROUP];
    for (int64_t i = 0; i < GROUP; i += LANES) store(values + i, load_some(row + at + i, k - at - i));
    const auto [low, high] = std::minmax_element(values, values + GROUP);
    const uint16_t halves[] = {to_float16(std::min((*high - *low) / 15.0f, MAX_FLOAT16)),
                               to_float16(std::clamp(-*low, -MAX_FLOAT16, MAX_FLOAT16))};
    const float scale = to_float32(halves[0]), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    const Floats minimum = splat(to_float32(halves[1]));
    alignas(64) int32_t codes[GROUP];
    for (int64_t i = 0; i < GROUP; i += LANES) {
      const Floats steps = maximum((load(values + i) + minimum) * splat(inverse), zeros());
      store_words(codes + i, nearest_words(zeros() - maximum(zeros() - steps, splat(-15.0f))));
    }
    for (int64_t i = 0; i < GROUP / 2; ++i) plain[i] = static_cast<uint8_t>(codes[i] | codes[i + GROUP / 2] << 4);
    std::memcpy(plain + GROUP / 2, halves, sizeof halves);
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

}  // namespace qwen_batch::int4
