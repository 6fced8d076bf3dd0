// Multiplies rows with a block of 4-bit weights by vectors (nibbles.h).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "int4_rows.h"
#include "prefetcher.h"

namespace qwen_batch::int4 {

constexpr int64_t MAX_ROWS = QUAD_SUMS > 8 ? 8 : QUAD_SUMS;  // rows per pass, whose sums stay in registers
constexpr int64_t MAX_STREAMED_ROWS = 4;  // so few rows use a weight as fast as it arrives from memory

// Adds the products of a group of ROWS rows with SIDES sides of a block. The rows lie Rows::STRIDE apart.
template <int ROWS, int SIDES>
inline void add_group(const uint8_t* lines, const int8_t* rows, NibbleSums (&products)[ROWS][SIDES]) {
  for (int64_t line = 0; line < LINES; ++line, lines += 64) {
    for (int upper = 0; upper < 2; ++upper, rows += QUAD) {
      Codes codes[SIDES];
      for (int s = 0; s < SIDES; ++s) {
        const Words bytes = load_words(lines + s * SIDE_BYTES);
        codes[s] = upper ? upper_nibbles(bytes) : lower_nibbles(bytes);
      }
      for (int r = 0; r < ROWS; ++r)
        for (int s = 0; s < SIDES; ++s) products[r][s] = add_nibbles(products[r][s], codes[s], rows + r * Rows::STRIDE);
    }
  }
}

// Multiplies a group of ROWS rows with SIDES sides of a block, and adds the scaled products to `sums` [ROWS][COLUMNS].
template <int ROWS, int SIDES>
inline void scale_group(const Rows& x, int64_t row, int64_t group, const uint8_t* block, int64_t side,
                        float (*sums)[COLUMNS]) {
  const int8_t* values = x.values(row, group);
  // Otherwise the compiler keeps all values of the rows for the other side, for which it has no registers.
  asm("" : "+r"(values));
  NibbleSums products[ROWS][SIDES];
  for (int r = 0; r < ROWS; ++r)
    for (int s = 0; s < SIDES; ++s) products[r][s] = no_nibble_sums();
  add_group<ROWS, SIDES>(block + side * SIDE_BYTES, values, products);
  for (int s = 0; s < SIDES; ++s) {
    const int64_t column = (side + s) * LANES;
    const Floats scales = from_float16(scales_of(block) + column), minima = from_float16(minima_of(block) + column);
    for (int r = 0; r < ROWS; ++r) {
      const Floats less = multiply_add(splat(-x.sum(row + r, group)), minima, load(sums[r] + column));
      store(sums[r] + column, multiply_add(to_floats(products[r][s]), scales, less));
    }
  }
}

// Multiplies ROWS rows, starting at `row`, with a block. The rows lie side by side (Rows::TOGETHER).
template <int ROWS>
void multiply_rows(const Rows& x, int64_t row, int64_t groups, const uint8_t* block, const ColumnBlock& target,
                   Prefetcher& prefetcher) {
  constexpr int SIDES = 2 * ROWS <= QUAD_SUMS ? 2 : 1;  // both sides at once, if the sums fit into the registers
  alignas(64) float sums[ROWS][COLUMNS];
  clear(sums[0], ROWS * COLUMNS);
  for (int64_t first = 0; first < groups; first += GROUPS_PER_ROW_GROUP) {
    alignas(64) float scaled[ROWS][COLUMNS] = {};  // without the scale of the row
    const int64_t end = std::min(groups, first + GROUPS_PER_ROW_GROUP);
    for (int64_t group = first; group < end; ++group, block += GROUP_BYTES, prefetcher.step())
      for (int64_t side = 0; side < 2; side += SIDES) scale_group<ROWS, SIDES>(x, row, group, block, side, scaled);
    for (int r = 0; r < ROWS; ++r)
      for (int64_t c = 0; c < COLUMNS; c += LANES) {
        const Floats scale = splat(x.scale(row + r, first / GROUPS_PER_ROW_GROUP));
        store(sums[r] + c, multiply_add(load(scaled[r] + c), scale, load(sums[r] + c)));
      }
  }
  for (int r = 0; r < ROWS; ++r) target.store(row + r, sums[r]);
}

using Kernel = void (*)(const Rows&, int64_t, int64_t, const uint8_t*, const ColumnBlock&, Prefetcher&);

// Returns `multiply_rows` for 1 to MAX_ROWS rows.
template <int... ROWS>
constexpr std::array<Kernel, sizeof...(ROWS)> kernels(std::integer_sequence<int, ROWS...>) {
  return {multiply_rows<ROWS + 1>...};
}
constexpr auto KERNELS = kernels(std::make_integer_sequence<int, MAX_ROWS>());

// Multiplies all rows with a block, in passes of about equally many rows that lie side by side.
inline void multiply_block(const Rows& x, int64_t groups, const uint8_t* block, const ColumnBlock& target,
                           bool has_next, Overlap* overlap) {
  const int64_t bytes = groups * GROUP_BYTES, passes = (x.count() + MAX_ROWS - 1) / MAX_ROWS;
  Prefetcher prefetcher(has_next && x.count() > MAX_STREAMED_ROWS ? block + bytes : nullptr, bytes, passes * groups,
                        overlap, bytes);
  for (int64_t row = 0; row < x.count();) {
    const int64_t left = std::min(x.count(), row / Rows::TOGETHER * Rows::TOGETHER + Rows::TOGETHER) - row;
    const int64_t of_these = (left + MAX_ROWS - 1) / MAX_ROWS, count = (left + of_these - 1) / of_these;
    KERNELS[count - 1](x, row, groups, block, target, prefetcher);
    row += count;
  }
  if (overlap != nullptr) overlap->multiplied(bytes);
}

}  // namespace qwen_batch::int4
