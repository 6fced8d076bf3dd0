// The format of 8-bit weights and activations for the kernels of int8_linear.cpp.
//
// Both are cut along k into groups of 256 with one scale each, so that a large value coarsens its own group only.
// Values lie between -127 and 127. Weights are stored with 128 added, because AMX and AVX512-VNNI multiply unsigned by
// signed bytes. This adds 128 times the sum of the row's group to each product; the sum is kept as the row's offset and
// subtracted again.
//
// The products of a group are exact integers, and groups are added in order in float32. A row's bits therefore depend
// on that row alone, and all kernels give the same bits.
#pragma once

#include <cstdint>

#include "amx_tiles.h"
#include "column_block.h"
#include "quads.h"
#include "vector_math.h"

namespace qwen_batch::int8 {

constexpr int64_t GROUP = 256;  // values along k that share a scale
constexpr int64_t STEP = 64;    // values along k per tile
constexpr int64_t STEPS = GROUP / STEP;
constexpr int64_t TILE = TILE_ROWS * STEP;  // values per tile, of weights or of rows
constexpr int64_t QUAD = 4;                 // values along k that one instruction sums

// A group of a block of weights: [STEPS][2 tiles][16 quads][16 columns][4], then one float32 scale per column.
// QUAD_ORDER is the order of the four values.
constexpr int64_t GROUP_BYTES = GROUP * COLUMNS + COLUMNS * sizeof(float);
constexpr int64_t GROUP_LINES = GROUP_BYTES / 64;

inline const float* scales_of(const uint8_t* group) { return reinterpret_cast<const float*>(group + GROUP * COLUMNS); }

// Rows of activations: tiles [rows / 16][groups][STEPS][16][64], zero beyond the last row.
struct Rows {
  const RowInteger* tiles;
  const float* scales;     // [rows padded to 16][groups]
  const int32_t* offsets;  // same shape: 128 times the sum of the group
  int64_t count, groups;

  const RowInteger* group_of_tile(int64_t row, int64_t group) const {
    return tiles + (row / TILE_ROWS * groups + group) * STEPS * TILE;
  }
};

// Returns sum + products * (row scale * column scale).
inline Floats add_group(Floats sum, Floats products, float row_scale, Floats column_scales) {
  return multiply_add(products, splat(row_scale) * column_scales, sum);
}

}  // namespace qwen_batch::int8
