// The format of 4-bit weights for the kernels of int4_linear.cpp, and of the 8-bit rows that they multiply.
//
// A weight is cut along k into groups of 32. A value is code * scale - minimum, with codes from 0 to 15, and with a
// float16 scale and minimum for each group of a column. So the formats of files (GPTQ, AWQ, Q4_K, …) fit without being
// rounded a second time, but for the scale and minimum. Rows are cut into groups of 256 with one float32 scale each, as
// for 8-bit weights (int8_format.h). So with r = row value * row scale:
//
//   sum of r * value = row scale * sum over groups of 32 (scale * sum of row value * code - minimum * sum of row value)
//
// Both sums on the right are exact integers, and groups are added in order in float32. A row's bits therefore depend on
// that row alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "column_block.h"
#include "nibbles.h"
#include "vector_math.h"

namespace qwen_batch::int4 {

constexpr int64_t GROUP = 32;       // values along k that share a scale and a minimum
constexpr int64_t QUAD = 4;         // values along k that one instruction sums
constexpr int64_t LINES = 4;        // lines of 64 bytes per side and group; each holds two quads of 16 columns
constexpr int64_t ROW_GROUP = 256;  // values of a row that share a scale
constexpr int64_t GROUPS_PER_ROW_GROUP = ROW_GROUP / GROUP;

// A group of a block: [2 sides of 16 columns][LINES][16 columns][QUAD] bytes, then float16 scales and minima
// [2][COLUMNS]. The lower halves of the bytes of line j are quad 2 j, the upper halves quad 2 j + 1.
constexpr int64_t SIDE_BYTES = LINES * 64;
constexpr int64_t CODE_BYTES = 2 * SIDE_BYTES;
constexpr int64_t GROUP_BYTES = CODE_BYTES + 2 * COLUMNS * sizeof(uint16_t);

inline const uint16_t* scales_of(const uint8_t* group) { return reinterpret_cast<const uint16_t*>(group + CODE_BYTES); }
inline const uint16_t* minima_of(const uint8_t* group) { return scales_of(group) + COLUMNS; }

}  // namespace qwen_batch::int4
