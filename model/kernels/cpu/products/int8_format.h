// 8-bit weights and activations as the kernels of int8_linear.cpp read them.
//
// Both are cut along k into groups of 256 with a scale each: one large value coarsens its own group only. Values lie between
// -127 and 127; weights are stored with 128 added, because both AMX and AVX512-VNNI multiply unsigned by signed bytes, and
// what that adds to a sum is 128 times the sum of the row's group, kept as the row's offset.
//
// The products of a group are exact integers, and groups are added in order in float32. So a row's bits depend on that row
// alone, and every kernel here gives the same.
#pragma once

#include <cstdint>

#include "amx_tiles.h"
#include "vector_math.h"

namespace qwen_batch::int8 {

constexpr int64_t GROUP = 256;    // values along k that share a scale
constexpr int64_t COLUMNS = 32;   // of a block of weights: two tiles
constexpr int64_t STEP = 64;      // values along k in a tile
constexpr int64_t STEPS = GROUP / STEP;
constexpr int64_t TILE = TILE_ROWS * STEP;  // bytes of a tile, of weights or of rows
constexpr int64_t QUAD = 4;                 // values along k that one instruction sums

// A group of a block of weights: [STEPS][2 tiles][16 quads][16 columns][4], then a float32 scale a column.
constexpr int64_t GROUP_BYTES = GROUP * COLUMNS + COLUMNS * sizeof(float);
constexpr int64_t GROUP_LINES = GROUP_BYTES / 64;

inline const float* scales_of(const uint8_t* group) { return reinterpret_cast<const float*>(group + GROUP * COLUMNS); }

// Rows of activations: tiles [rows / 16][groups][STEPS][16][64], zero beyond the last row.
struct Rows {
  const int8_t* tiles;
  const float* scales;     // [rows padded to 16][groups]
  const int32_t* offsets;  // the same: 128 times the sum of the group
  int64_t count, groups;

  const int8_t* group_of_tile(int64_t row, int64_t group) const { return tiles + (row / TILE_ROWS * groups + group) * STEPS * TILE; }
};

// One block of columns for some rows: `out` points at its first column of row 0.
struct Target {
  uint16_t* out;
  int64_t stride;
  int64_t columns;  // that exist; at most COLUMNS
};

#if QWEN_BATCH_HAS_AVX512

inline void store_sums(const Target& target, int64_t row, const float* sums) {
  for (int64_t c = 0; c < COLUMNS && c < target.columns; c += 16) {
    _mm256_mask_storeu_epi16(target.out + row * target.stride + c, first_lanes(target.columns - c), to_bfloat16(_mm512_loadu_ps(sums + c)));
  }
}

// sum + products * (row scale * column scale).
inline __m512 add_group(__m512 sum, __m512i products, float row_scale, __m512 column_scales) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_mul_ps(_mm512_set1_ps(row_scale), column_scales), sum);
}

#endif

}  // namespace qwen_batch::int8
