// Multiplies rows with a block of 8-bit weights on AMX tiles.
#pragma once

#include "amx_tiles.h"
#include "int8_format.h"

#if QWEN_BATCH_HAS_AMX && defined(__AMX_INT8__)
#define QWEN_BATCH_HAS_AMX_INT8 1

#include <algorithm>

namespace qwen_batch::int8 {

static_assert(sizeof(RowInteger) == 1, "tiles multiply bytes");

// Adds 16 rows of integer products to their float32 sums [16][COLUMNS].
inline void add_tiles(const Rows& x, int64_t row, int64_t group, const int32_t* products, const float* column_scales,
                      float* sums) {
  const __m512 left = _mm512_loadu_ps(column_scales), right = _mm512_loadu_ps(column_scales + 16);
  for (int64_t r = 0; r < TILE_ROWS; ++r, sums += COLUMNS) {
    const __m512i offset = _mm512_set1_epi32(x.offsets[(row + r) * x.groups + group]);
    const float scale = x.scales[(row + r) * x.groups + group];
    const __m512i first = _mm512_sub_epi32(_mm512_load_si512(products + r * 16), offset);
    const __m512i second = _mm512_sub_epi32(_mm512_load_si512(products + TILE_ROWS * 16 + r * 16), offset);
    _mm512_store_ps(sums, add_group(_mm512_load_ps(sums), to_floats(first), scale, left));
    _mm512_store_ps(sums + 16, add_group(_mm512_load_ps(sums + 16), to_floats(second), scale, right));
  }
}

// Multiplies 16 * HALVES rows, starting at `row`, with a block. `next`: where to prefetch meanwhile, `lines` cache
// lines per group, or nullptr.
template <int HALVES>
void tile_rows(const Rows& x, int64_t row, const uint8_t* block, const ColumnBlock& target, const char* next,
               int64_t lines) {
  alignas(64) float sums[HALVES * TILE_ROWS * COLUMNS];
  clear(sums, HALVES * TILE_ROWS * COLUMNS);
  alignas(64) int32_t products[HALVES * 2 * TILE_ROWS * 16];
  for (int64_t g = 0; g < x.groups; ++g, block += GROUP_BYTES) {
    const RowInteger *upper = x.group_of_tile(row, g), *lower = x.group_of_tile(row + (HALVES - 1) * TILE_ROWS, g);
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (HALVES == 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int64_t s = 0; s < STEPS; ++s) {
      _tile_loadd(4, upper + s * TILE, 64);
      _tile_loadd(6, block + s * 2 * TILE, 64);
      _tile_loadd(7, block + s * 2 * TILE + TILE, 64);
      _tile_dpbsud(0, 4, 6);
      _tile_dpbsud(1, 4, 7);
      if constexpr (HALVES == 2) {
        _tile_loadd(5, lower + s * TILE, 64);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
      }
    }
    if (next != nullptr)
      for (int64_t line = 0; line < lines; ++line, next += 64) _mm_prefetch(next, _MM_HINT_T1);
    _tile_stored(0, products, 64);
    _tile_stored(1, products + 256, 64);
    if constexpr (HALVES == 2) {
      _tile_stored(2, products + 512, 64);
      _tile_stored(3, products + 768, 64);
    }
    for (int half = 0; half < HALVES; ++half)
      add_tiles(x, row + half * TILE_ROWS, g, products + half * 512, scales_of(block),
                sums + half * TILE_ROWS * COLUMNS);
  }
  for (int64_t r = 0; r < HALVES * TILE_ROWS && row + r < x.count; ++r) target.store(row + r, sums + r * COLUMNS);
}

// Multiplies rows `begin` to `end` with a block. The first 32 rows wait for the block's own weights; later rows
// prefetch the next block.
inline void tile_block(const Rows& x, int64_t begin, int64_t end, const uint8_t* block, const ColumnBlock& target,
                       bool has_next) {
  const int64_t passes = std::max<int64_t>(1, (end - begin - 1) / 32),
                lines = std::max<int64_t>(1, GROUP_LINES / passes / 4);
  const char* after = reinterpret_cast<const char*>(block + x.groups * GROUP_BYTES);
  for (int64_t row = begin; row < end;) {
    const char* next = row > begin && has_next ? after + ((row - begin) / 32 - 1) * lines * x.groups * 64 : nullptr;
    if (row + TILE_ROWS < end) {
      tile_rows<2>(x, row, block, target, next, lines);
      row += 2 * TILE_ROWS;
    } else {
      tile_rows<1>(x, row, block, target, next, lines);
      row += TILE_ROWS;
    }
  }
}

}  // namespace qwen_batch::int8

#else
#define QWEN_BATCH_HAS_AMX_INT8 0
#endif
