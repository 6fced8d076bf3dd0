// A block of 8-bit weights times rows by AVX512-VNNI.
#pragma once

#include "ahead.h"
#include "int8_format.h"

#if QWEN_BATCH_HAS_AVX512 && defined(__AVX512VNNI__)
#define QWEN_BATCH_HAS_VNNI 1

#include <algorithm>
#include <cstring>

namespace qwen_batch::int8 {

constexpr int64_t MOST_VECTOR_ROWS = 8;  // of one tile, worked on together: 16 registers of sums, 2 of weights, 1 of a row's quad
constexpr int MOST_STREAMED = 4;         // rows that are done with a weight as fast as it comes from memory

// Sums of the type that the instruction adds to: GCC 12 copies and spills such sums held as __m512i, at half the speed.
typedef int32_t Integers __attribute__((vector_size(64)));

inline __m512i quad_of(const int8_t* row) {
  int32_t quad;
  std::memcpy(&quad, row, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// Both tiles of a step one after the other, as they lie: what the processor fetches ahead is then what is read next.
template <int ROWS>
inline void add_streamed(Integers (&sums)[ROWS][2], const uint8_t* block, const int8_t* rows, Ahead& ahead) {
  for (int64_t s = 0; s < STEPS; ++s, ahead.step())
    for (int side = 0; side < 2; ++side)
      for (int64_t q = 0; q < TILE_ROWS; ++q, block += 64) {
        const __m512i weights = _mm512_loadu_si512(block);
        for (int r = 0; r < ROWS; ++r)
          sums[r][side] = (Integers)_mm512_dpbusd_epi32((__m512i)sums[r][side], weights, quad_of(rows + s * TILE + q * QUAD + r * STEP));
      }
}

// Both tiles of a step at once, so that a row's quad is loaded once for them.
template <int ROWS>
inline void add_side_by_side(Integers (&sums)[ROWS][2], const uint8_t* block, const int8_t* rows, Ahead& ahead) {
  for (int64_t s = 0; s < STEPS; ++s, block += 2 * TILE, ahead.step())
    for (int64_t q = 0; q < TILE_ROWS; ++q) {
      const __m512i left = _mm512_loadu_si512(block + q * 64), right = _mm512_loadu_si512(block + TILE + q * 64);
      for (int r = 0; r < ROWS; ++r) {
        const __m512i quad = quad_of(rows + s * TILE + q * QUAD + r * STEP);
        sums[r][0] = (Integers)_mm512_dpbusd_epi32((__m512i)sums[r][0], left, quad);
        sums[r][1] = (Integers)_mm512_dpbusd_epi32((__m512i)sums[r][1], right, quad);
      }
    }
}

// ROWS rows of one tile from `row` on times a block. They lie at constant distances: with a pointer each they would not fit
// into the processor's registers.
template <int ROWS>
void vector_rows(const Rows& x, int64_t row, const uint8_t* block, const Target& target, Ahead& ahead) {
  alignas(64) float sums[ROWS][COLUMNS] = {};
  const int8_t* at = x.group_of_tile(row, 0) + row % TILE_ROWS * STEP;
  for (int64_t g = 0; g < x.groups; ++g, block += GROUP_BYTES, at += STEPS * TILE) {
    Integers products[ROWS][2];
    for (int r = 0; r < ROWS; ++r) products[r][0] = products[r][1] = (Integers)_mm512_set1_epi32(-x.offsets[(row + r) * x.groups + g]);
    if constexpr (ROWS <= MOST_STREAMED)
      add_streamed<ROWS>(products, block, at, ahead);
    else
      add_side_by_side<ROWS>(products, block, at, ahead);
    const __m512 left = _mm512_loadu_ps(scales_of(block)), right = _mm512_loadu_ps(scales_of(block) + 16);
    for (int r = 0; r < ROWS; ++r) {
      const float scale = x.scales[(row + r) * x.groups + g];
      _mm512_store_ps(sums[r], add_group(_mm512_load_ps(sums[r]), (__m512i)products[r][0], scale, left));
      _mm512_store_ps(sums[r] + 16, add_group(_mm512_load_ps(sums[r] + 16), (__m512i)products[r][1], scale, right));
    }
  }
  for (int r = 0; r < ROWS; ++r) store_sums(target, row + r, sums[r]);
}

using VectorKernel = void (*)(const Rows&, int64_t, const uint8_t*, const Target&, Ahead&);
constexpr VectorKernel VECTOR_KERNELS[MOST_VECTOR_ROWS] = {vector_rows<1>, vector_rows<2>, vector_rows<3>, vector_rows<4>,
                                                           vector_rows<5>, vector_rows<6>, vector_rows<7>, vector_rows<8>};

// All rows times a block, a tile after the other, each in one or two passes.
inline void vector_block(const Rows& x, const uint8_t* block, const Target& target, bool has_next, Beside* beside) {
  const int64_t bytes = x.groups * GROUP_BYTES, passes = (x.count + MOST_VECTOR_ROWS - 1) / MOST_VECTOR_ROWS;
  Ahead ahead(has_next && x.count > MOST_STREAMED ? block + bytes : nullptr, bytes, passes * x.groups * STEPS, beside, bytes);
  for (int64_t row = 0; row < x.count;) {
    const int64_t left = std::min(x.count, row / TILE_ROWS * TILE_ROWS + TILE_ROWS) - row;
    const int64_t count = left > MOST_VECTOR_ROWS ? (left + 1) / 2 : left;
    VECTOR_KERNELS[count - 1](x, row, block, target, ahead);
    row += count;
  }
  if (beside != nullptr) beside->multiplied(bytes);
}

}  // namespace qwen_batch::int8

#else
#define QWEN_BATCH_HAS_VNNI 0
#endif
