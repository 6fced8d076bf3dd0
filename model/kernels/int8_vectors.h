// A block of 8-bit weights times rows by AVX512-VNNI.
#pragma once

#include "int8_format.h"

#if QWEN_BATCH_HAS_AVX512_BF16 && defined(__AVX512VNNI__)
#define QWEN_BATCH_HAS_VNNI 1

#include <algorithm>
#include <cstring>

namespace qwen_batch::int8 {

constexpr int64_t MOST_VECTOR_ROWS = 12;  // worked on together: 24 registers of sums, 2 of weights, 1 of a row's quad
constexpr int64_t AHEAD_BYTES = 4096;     // between what a few rows read and what they ask for from memory
constexpr int MOST_STREAMED = 4;

// ROWS rows from `row` on times a block. `next`: the block after it, of which `lines` a group are fetched, or nullptr.
template <int ROWS>
void vector_rows(const Rows& x, int64_t row, const uint8_t* block, const Target& target, const char* next, int64_t lines) {
  alignas(64) float sums[ROWS][COLUMNS] = {};
  const int8_t* at[ROWS];
  for (int r = 0; r < ROWS; ++r) at[r] = x.group_of_tile(row + r, 0) + (row + r) % TILE_ROWS * STEP;
  for (int64_t g = 0; g < x.groups; ++g, block += GROUP_BYTES) {
    __m512i products[ROWS][2];
    for (int r = 0; r < ROWS; ++r) {
      const __m512i offset = _mm512_set1_epi32(-x.offsets[(row + r) * x.groups + g]);
      products[r][0] = products[r][1] = offset;
    }
    for (int64_t s = 0; s < STEPS; ++s)
      for (int64_t q = 0; q < TILE_ROWS; ++q) {
        const uint8_t* w = block + (s * 2 * TILE_ROWS + q) * 64;
        const __m512i left = _mm512_loadu_si512(w), right = _mm512_loadu_si512(w + TILE);
        if constexpr (ROWS <= MOST_STREAMED) {  // nothing but the stream of weights: keep it flowing
          _mm_prefetch(reinterpret_cast<const char*>(w + AHEAD_BYTES), _MM_HINT_T0);
          _mm_prefetch(reinterpret_cast<const char*>(w + AHEAD_BYTES + TILE), _MM_HINT_T0);
        }
        for (int r = 0; r < ROWS; ++r) {
          int32_t quad;
          std::memcpy(&quad, at[r] + s * TILE + q * QUAD, sizeof quad);
          const __m512i values = _mm512_set1_epi32(quad);
          products[r][0] = _mm512_dpbusd_epi32(products[r][0], left, values);
          products[r][1] = _mm512_dpbusd_epi32(products[r][1], right, values);
        }
      }
    if (next != nullptr)
      for (int64_t line = 0; line < lines; ++line, next += 64) _mm_prefetch(next, _MM_HINT_T1);
    const __m512 left = _mm512_loadu_ps(scales_of(block)), right = _mm512_loadu_ps(scales_of(block) + 16);
    for (int r = 0; r < ROWS; ++r) {
      const float scale = x.scales[(row + r) * x.groups + g];
      _mm512_store_ps(sums[r], add_group(_mm512_load_ps(sums[r]), products[r][0], scale, left));
      _mm512_store_ps(sums[r] + 16, add_group(_mm512_load_ps(sums[r] + 16), products[r][1], scale, right));
      at[r] += STEPS * TILE;
    }
  }
  for (int r = 0; r < ROWS; ++r) store_sums(target, row + r, sums[r]);
}

using VectorKernel = void (*)(const Rows&, int64_t, const uint8_t*, const Target&, const char*, int64_t);
constexpr VectorKernel VECTOR_KERNELS[MOST_VECTOR_ROWS] = {
    vector_rows<1>, vector_rows<2>, vector_rows<3>, vector_rows<4>,  vector_rows<5>,  vector_rows<6>,
    vector_rows<7>, vector_rows<8>, vector_rows<9>, vector_rows<10>, vector_rows<11>, vector_rows<12>};

// All rows times a block, in passes of nearly equal size that fetch the block after it, if there is one.
inline void vector_block(const Rows& x, const uint8_t* block, const Target& target, bool has_next) {
  const int64_t passes = (x.count + MOST_VECTOR_ROWS - 1) / MOST_VECTOR_ROWS, lines = (GROUP_LINES + passes - 1) / passes;
  const char* after = reinterpret_cast<const char*>(block + x.groups * GROUP_BYTES);
  for (int64_t pass = 0; pass < passes; ++pass) {
    const int64_t begin = x.count * pass / passes, end = x.count * (pass + 1) / passes;
    const char* next = has_next && x.count > MOST_STREAMED ? after + pass * lines * x.groups * 64 : nullptr;
    VECTOR_KERNELS[end - begin - 1](x, begin, block, target, next, lines);
  }
}

}  // namespace qwen_batch::int8

#else
#define QWEN_BATCH_HAS_VNNI 0
#endif
