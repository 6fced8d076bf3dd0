// Multiplies rows with one block of a weight in bfloat16 (dot_linear.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "prefetcher.h"
#include "product_rows.h"

namespace qwen_batch::dot {

constexpr int STRIPS = DOT_COLUMNS / LANES;  // vectors of columns per block
constexpr int64_t PAIR = DOT_COLUMNS * 2;    // bfloat16 values of a block per pair of k
constexpr int64_t PAIRS_PER_STEP = 4;        // pairs of k between prefetches
static_assert(LANES / 2 % PAIRS_PER_STEP == 0, "a part of a row has whole steps");

// One block: [k / 2][DOT_COLUMNS][2].
struct Block {
  const uint16_t* weights;
  int64_t k;
  int64_t columns;  // columns that exist from the block's first one on; all later blocks count, too
};

// Some rows, and where a block of their columns goes.
struct Piece {
  int64_t begin, end;  // rows
  uint16_t* out;       // output of row `begin`; rows are `stride` values apart
  int64_t stride;

  uint16_t* out_of(int64_t row) const { return out + (row - begin) * stride; }
};

// Returns how many strips are multiplied together, so that the sums of so many rows stay in registers.
constexpr int strips_at_once(int rows) {
  const int width = std::min(STRIPS, SUM_VECTORS / rows);
  return width == 3 ? 2 : width;
}

// Adds the products of ROWS rows and WIDTH strips for `pairs` pairs of k. `x`: from ProductRows::pass. `weights`:
// bfloat16 values in a block, or float32 values in a panel (dot_panels.h).
template <int ROWS, int WIDTH, typename Weight>
inline void add_products(Floats (&sums)[ROWS][WIDTH], const RowValue* x, int64_t row_stride, const Weight* weights,
                         int64_t pairs, Prefetcher& prefetcher) {
  constexpr int64_t PAIR_STRIDE = std::is_same_v<Weight, float> ? 2 * WIDTH * LANES : PAIR;
  for (int64_t first = 0; first < pairs; first += PAIRS_PER_STEP) {
    const int64_t count = std::min(PAIRS_PER_STEP, pairs - first);
#pragma GCC unroll 1  // unrolled by g++ 12, full batches of rows take 1 to 2% longer on a Zen 4
    for (int64_t p = 0; p < count; ++p, weights += PAIR_STRIDE, x += 2)
      add_outer(sums, weights, [&](int r) { return x + r * row_stride; });
    if ((first + PAIRS_PER_STEP) % (LANES / 2) == 0) x += ProductRows::lanes_stride(ROWS) - LANES;
    prefetcher.step();
  }
}

// Multiplies a pass of ROWS rows with one block. Sums run over all of k and are then rounded to bfloat16, to nearest
// even.
template <int ROWS>
void multiply_pass(const ProductRows& rows, int64_t row, const Block& block, const Piece& piece,
                   Prefetcher& prefetcher) {
  constexpr int WIDTH = strips_at_once(ROWS);
  for (int64_t c = 0; c < DOT_COLUMNS && c < block.columns; c += WIDTH * LANES) {
    Floats sums[ROWS][WIDTH];
    for (int r = 0; r < ROWS; ++r)
      for (int v = 0; v < WIDTH; ++v) sums[r][v] = zeros();
    add_products(sums, rows.pass(row, ROWS, 0), rows.row_stride(), block.weights + c * 2, block.k / 2, prefetcher);
    for (int r = 0; r < ROWS; ++r)
      for (int v = 0; v < WIDTH; ++v)
        store_halves(first_lanes(block.columns - c - v * LANES), piece.out_of(row + r) + c + v * LANES,
                     to_bfloat16(sums[r][v]));
  }
}

using PassKernel = void (*)(const ProductRows&, int64_t, const Block&, const Piece&, Prefetcher&);
constexpr PassKernel PASS_KERNELS[MAX_ROWS] = {multiply_pass<1>, multiply_pass<2>, multiply_pass<3>,
                                               multiply_pass<4>, multiply_pass<5>, multiply_pass<6>};

// Multiplies a piece with one block, pass by pass.
inline void multiply_passes(const ProductRows& rows, const Block& block, const Piece& piece, Prefetcher& prefetcher) {
  for_each_pass(piece.begin, piece.end,
                [&](int64_t row, int64_t count) { PASS_KERNELS[count - 1](rows, row, block, piece, prefetcher); });
}

}  // namespace qwen_batch::dot
