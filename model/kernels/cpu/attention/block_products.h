// The two small matrix products of blocked attention in bfloat16 with fp32 sums, on AMX tiles or by AVX-512.
//
// Both read their second operand as pairs along the summed axis: [pairs][columns][2]. Each sum is one chain over the
// pairs in order, whatever the number of rows, so a row's bits depend on that row alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vector_math.h"

#if QWEN_BATCH_HAS_AVX512

namespace qwen_batch {

constexpr int QUERY_ROWS = 32;  // rows of a block of queries
constexpr int KEY_BLOCK = 64;   // keys of a block, at absolute positions

// out[r][c] (+)= sum over p of a[r][2p] * b[p][c][0] + a[r][2p + 1] * b[p][c][1], for 16 * VECTORS columns.
template <int ROWS, int VECTORS, bool ADD>
inline void rows_by_vectors(const uint16_t* a, int a_stride, const uint16_t* b, int b_columns, float* out, int out_stride, int pairs) {
  __m512 sum[ROWS][VECTORS];
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v)
      sum[r][v] = ADD ? _mm512_loadu_ps(out + r * out_stride + v * 16) : _mm512_setzero_ps();
  for (int p = 0; p < pairs; ++p) add_outer(sum, b + p * b_columns * 2, [&](int r) { return pair_at(a + r * a_stride + 2 * p); });
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v) _mm512_storeu_ps(out + r * out_stride + v * 16, sum[r][v]);
}

// As many columns as are left, up to 64 at a time.
template <int ROWS, bool ADD>
void rows_by_columns(const uint16_t* a, int a_stride, const uint16_t* b, int columns, float* out, int pairs) {
  int c = 0;
  for (; c + 64 <= columns; c += 64) rows_by_vectors<ROWS, 4, ADD>(a, a_stride, b + c * 2, columns, out + c, columns, pairs);
  for (; c < columns; c += 32) rows_by_vectors<ROWS, 2, ADD>(a, a_stride, b + c * 2, columns, out + c, columns, pairs);
}

// The product by AVX-512: 6 rows x 64 columns of sums stay in registers. The last 8 rows go in two fours: two rows on
// their own would wait for each other's sums.
template <bool ADD>
void multiply_vectors(const uint16_t* a, int a_stride, const uint16_t* b, int columns, float* out, int rows, int pairs) {
  while (rows > 0) {
    const int now = rows >= 6 && rows != 8 ? 6 : rows >= 4 ? 4 : 1;
    if (now == 6) rows_by_columns<6, ADD>(a, a_stride, b, columns, out, pairs);
    else if (now == 4) rows_by_columns<4, ADD>(a, a_stride, b, columns, out, pairs);
    else rows_by_columns<1, ADD>(a, a_stride, b, columns, out, pairs);
    a += now * a_stride;
    out += now * columns;
    rows -= now;
  }
}

}  // namespace qwen_batch

#include "amx_tiles.h"

#if QWEN_BATCH_HAS_AMX

namespace qwen_batch {

// The product by AMX tiles: 16 or 32 rows x 32 columns of sums at a time. A TileScope of 16 rows must be open.
template <bool ADD>
void multiply_tiles(const uint16_t* a, int a_stride, const uint16_t* b, int columns, float* out, int rows, int pairs) {
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
#endif
