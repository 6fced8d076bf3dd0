// Multiplies rows with a block of 8-bit weights by vectors (quads.h).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "int8_format.h"
#include "prefetcher.h"
#include "quads.h"

namespace qwen_batch::int8 {

constexpr int MAX_STREAMED_ROWS = 4;  // so few rows use a weight as fast as it arrives from memory

// Rows of one tile per pass. With enough registers, more than MAX_STREAMED_ROWS have two sums each.
constexpr int64_t MAX_VECTOR_ROWS = QUAD_SUMS / 2 > MAX_STREAMED_ROWS ? QUAD_SUMS / 2 : QUAD_SUMS;

// Takes the two tiles of a step one after the other, as they lie in memory. The hardware prefetcher then fetches what
// is read next, and each row needs only one sum at a time.
template <int ROWS>
inline void add_streamed(Integers (&sums)[ROWS][2], const uint8_t* block, const RowInteger* rows,
                         Prefetcher& prefetcher) {
  for (int64_t s = 0; s < STEPS; ++s, prefetcher.step())
    for (int side = 0; side < 2; ++side) {
      Integers of_side[ROWS][1];
      for (int r = 0; r < ROWS; ++r) of_side[r][0] = sums[r][side];
      for (int64_t q = 0; q < TILE_ROWS; ++q, block += 64)
        add_quads(of_side, block, 0, [&](int r) { return rows + s * TILE + q * QUAD + r * STEP; });
      for (int r = 0; r < ROWS; ++r) sums[r][side] = of_side[r][0];
    }
}

// Takes the two tiles of a step together, so that a row's quad is loaded once for both.
template <int ROWS>
inline void add_side_by_side(Integers (&sums)[ROWS][2], const uint8_t* block, const RowInteger* rows,
                             Prefetcher& prefetcher) {
  for (int64_t s = 0; s < STEPS; ++s, block += 2 * TILE, prefetcher.step())
    for (int64_t q = 0; q < TILE_ROWS; ++q)
      add_quads(sums, block + q * 64, TILE, [&](int r) { return rows + s * TILE + q * QUAD + r * STEP; });
}

// Multiplies ROWS rows of one tile, starting at `row`, with a block. The rows lie at constant distances: one pointer
// per row would not fit into the processor's registers.
template <int ROWS>
void vector_rows(const Rows& x, int64_t row, const uint8_t* block, const ColumnBlock& target, Prefetcher& prefetcher) {
  alignas(64) float sums[ROWS][COLUMNS];
  clear(sums[0], ROWS * COLUMNS);
  const RowInteger* at = x.group_of_tile(row, 0) + row % TILE_ROWS * STEP;
  for (int64_t g = 0; g < x.groups; ++g, block += GROUP_BYTES, at += STEPS * TILE) {
    Integers products[ROWS][2];
    for (int r = 0; r < ROWS; ++r) products[r][0] = products[r][1] = first_sums(x.offsets[(row + r) * x.groups + g]);
    if constexpr (ROWS <= MAX_STREAMED_ROWS || 2 * ROWS > QUAD_SUMS)
      add_streamed<ROWS>(products, block, at, prefetcher);
    else add_side_by_side<ROWS>(products, block, at, prefetcher);
    const Floats left = load(scales_of(block)), right = load(scales_of(block) + 16);
    for (int r = 0; r < ROWS; ++r) {
      const float scale = x.scales[(row + r) * x.groups + g];
      store(sums[r], add_group(load(sums[r]), to_floats(products[r][0]), scale, left));
      store(sums[r] + 16, add_group(load(sums[r] + 16), to_floats(products[r][1]), scale, right));
    }
  }
  for (int r = 0; r < ROWS; ++r) target.store(row + r, sums[r]);
}

using VectorKernel = void (*)(const Rows&, int64_t, const uint8_t*, const ColumnBlock&, Prefetcher&);

// Returns `vector_rows` for 1 to MAX_VECTOR_ROWS rows.
template <int... ROWS>
constexpr std::array<VectorKernel, sizeof...(ROWS)> vector_kernels(std::integer_sequence<int, ROWS...>) {
  return {vector_rows<ROWS + 1>...};
}
constexpr auto VECTOR_KERNELS = vector_kernels(std::make_integer_sequence<int, MAX_VECTOR_ROWS>());

// Multiplies all rows with a block, one tile after the other, in passes of about equally many rows.
inline void vector_block(const Rows& x, const uint8_t* block, const ColumnBlock& target, bool has_next,
                         Overlap* overlap) {
  const int64_t bytes = x.groups * GROUP_BYTES, passes = (x.count + MAX_VECTOR_ROWS - 1) / MAX_VECTOR_ROWS;
  Prefetcher prefetcher(has_next && x.count > MAX_STREAMED_ROWS ? block + bytes : nullptr, bytes,
                        passes * x.groups * STEPS, overlap, bytes);
  for (int64_t row = 0; row < x.count;) {
    const int64_t left = std::min(x.count, row / TILE_ROWS * TILE_ROWS + TILE_ROWS) - row;
    const int64_t count_of_passes = (left + MAX_VECTOR_ROWS - 1) / MAX_VECTOR_ROWS;
    const int64_t count = (left + count_of_passes - 1) / count_of_passes;
    VECTOR_KERNELS[count - 1](x, row, block, target, prefetcher);
    row += count;
  }
  if (overlap != nullptr) overlap->multiplied(bytes);
}

}  // namespace qwen_batch::int8
