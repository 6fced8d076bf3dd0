// Rounds a weight to 8 bits in the form of model/ops/int8.py, and packs this form into the form of the kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "int8_format.h"
#include "int8_rows.h"

namespace qwen_batch::int8 {

constexpr int64_t PLAIN_BYTES = GROUP + sizeof(float);  // per group in Python's form: its values, then its scale

// Rounds a row of k values to groups [groups, 260], as `quantise_weight` does in Python.
inline void quantise_plain(const uint16_t* row, int64_t k, uint8_t* plain) {
  for (int64_t at = 0; at < k; at += GROUP, plain += PLAIN_BYTES) {
    auto* values = reinterpret_cast<int8_t*>(plain);
    const float scale = round_group(row + at, std::min(GROUP, k - at),
                                    [&](int64_t i, Words rounded) { store_narrow(values + i * LANES, rounded); });
    for (int64_t i = 0; i < GROUP; ++i) plain[i] ^= 128;  // adds 128
    std::memcpy(plain + GROUP, &scale, sizeof scale);
  }
}

// Packs `columns` (at most COLUMNS) columns [groups, 260] into a block [groups, GROUP_BYTES]. Missing columns are zero.
inline void pack_block(const uint8_t* plain, int64_t columns, int64_t groups, uint8_t* block) {
  std::memset(block, 0, groups * GROUP_BYTES);
  for (int64_t g = 0; g < groups; ++g, block += GROUP_BYTES)
    for (int64_t c = 0; c < columns; ++c) {
      const uint8_t* group = plain + (c * groups + g) * PLAIN_BYTES;
      for (int64_t quad = 0; quad < GROUP / QUAD; ++quad) {
        uint8_t* tile = block + (quad / TILE_ROWS * 2 + c / 16) * TILE;
        for (int64_t i = 0; i < QUAD; ++i)
          tile[quad % TILE_ROWS * 64 + c % 16 * QUAD + i] = group[quad * QUAD + QUAD_ORDER[i]];
      }
      std::memcpy(block + GROUP * COLUMNS + c * sizeof(float), group + GROUP, sizeof(float));
    }
}

struct Format {  // see quantised_weight.h
  static constexpr int64_t VALUES = GROUP, PLAIN_BYTES = int8::PLAIN_BYTES, PACKED_BYTES = GROUP_BYTES;
  static constexpr auto round_row = quantise_plain;
  static constexpr auto pack_block = int8::pack_block;
};

}  // namespace qwen_batch::int8
