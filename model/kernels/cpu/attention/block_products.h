// The two small matrix products of blocked attention, in bfloat16 with float32 sums. They run on AMX tiles or by
// vectors.
//
// Both read their second operand as pairs along the summed axis: [pairs][columns][2]. Each sum adds its pairs one by
// one in order, whatever the number of rows. A row's bits therefore depend on that row alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vector_math.h"

namespace qwen_batch {

constexpr int QUERY_ROWS = 32;  // rows per block of queries
constexpr int KEY_BLOCK = 64;   // keys per block, at absolute positions

// Computes out[r][c] (+)= sum over p of a[r][2p] * b[p][c][0] + a[r][2p + 1] * b[p][c][1], for 16 * VECTORS columns.
template <int ROWS, int VECTORS, bool ADD>
inline void rows_by_vectors(const RowValue* a, int a_stride, const uint16_t* b, int b_columns, float* out,
                            int out_stride, int pairs) {
  Floats sum[ROWS][VECTORS];
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v) sum[r][v] = ADD ? load(out + r * out_stride + v * 16) : zeros();
  for (int p = 0; p < pairs; ++p)
    add_outer(sum, b + p * b_columns * 2, [&](int r) { return a + r * a_stride + 2 * p; });
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v) store(out + r * out_stride + v * 16, sum[r][v]);
}

// Computes all columns, at most 64 at a time.
template <int ROWS, bool ADD>
void rows_by_columns(const RowValue* a, int a_stride, const uint16_t* b, int columns, float* out, int pairs) {
  constexpr int VECTORS = std::min(4, SUM_VECTORS / ROWS);
  int c = 0;
  for (; c + VECTORS * 16 <= columns; c += VECTORS * 16)
    rows_by_vectors<ROWS, VECTORS, ADD>(a, a_stride, b + c * 2, columns, out + c, columns, pairs);
  for (; c < columns; c += 32) rows_by_vectors<ROWS, 2, ADD>(a, a_stride, b + c * 2, columns, out + c, columns, pairs);
}

// Multiplies by vectors; the sums of 6 rows stay in registers. The last 8 rows are done as 4 + 4, not 6 + 2: two rows
// alone have too few independent sums, so that each addition waits for the one before.
template <bool ADD>
void multiply_vectors(const RowValue* a, int a_stride, const uint16_t* b, int columns, float* out, int rows,
                      int pairs) {
  while (rows > 0) {
    const int count = rows >= 6 && rows != 8 ? 6 : rows >= 4 ? 4 : 1;
    if (count == 6) rows_by_columns<6, ADD>(a, a_stride, b, columns, out, pairs);
    else if (count == 4) rows_by_columns<4, ADD>(a, a_stride, b, columns, out, pairs);
    else rows_by_columns<1, ADD>(a, a_stride, b, columns, out, pairs);
    a += count * a_stride;
    out += count * columns;
    rows -= count;
  }
}

}  // namespace qwen_batch

#include "amx_tiles.h"

#if QWEN_BATCH_HAS_AMX

namespace qwen_batch {

// Multiplies with AMX tiles, 16 rows x 32 columns of sums at a time. `rows` is 16 or 32. A TileScope of 16 rows must be
// open.
template <bool ADD>
void multiply_tiles(const uint16_t* a, int a_stride, const uint16_t* b, int columns, float* out, int rows, int pairs) {
  // GCC does not know that a tile's load reads memory. Without this line it might move earlier stores behind the load.
  asm volatile("" ::: "memory");
  for (int r = 0; r < rows; r += 16)
    for (int c = 0; c < columns; c += 32) {
      float* sums = out + r * columns + c;
      if (ADD) {
        _tile_loadd(0, sums, columns * 4);
        _tile_loadd(1, sums + 16, columns * 4);
      } else {
        _tile_zero(0);
        _tile_zero(1);
      }
      for (int p = 0; p < pairs; p += 16) {
        _tile_loadd(4, a + r * a_stride + 2 * p, a_stride * 2);
        _tile_loadd(6, b + (p * columns + c) * 2, columns * 4);
        _tile_loadd(7, b + (p * columns + c + 16) * 2, columns * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
      }
      _tile_stored(0, sums, columns * 4);
      _tile_stored(1, sums + 16, columns * 4);
    }
}

}  // namespace qwen_batch

#endif
