// Products of quads of 8-bit values on AVX-512 (quads.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 16;  // vectors of sums that stay in registers

// If sums are held as __m512i, GCC 12 copies and spills them, at half the speed.
typedef int32_t Integers __attribute__((vector_size(64)));
using RowPart = Words;

inline Integers splat_integer(int32_t value) { return (Integers)splat_word(value); }
inline Integers first_sums(int32_t offset) { return splat_integer(-offset); }
inline Floats to_floats(Integers sums) { return to_floats((Words)sums); }

#if defined(__AVX512VNNI__)

using RowInteger = int8_t;
constexpr int QUAD_PARTS = 1;
constexpr int QUAD_ORDER[4] = {0, 1, 2, 3};

template <int PART>
inline Words part_of_weights(Words bytes) {
  return bytes;
}
template <int PART>
inline RowPart part_of_row(const RowInteger* quad) {
  int32_t values;
  std::memcpy(&values, quad, sizeof values);
  return splat_word(values);
}
inline Integers add_part(Integers sums, Words weights, RowPart row) {
  return (Integers)_mm512_dpbusd_epi32((__m512i)sums, weights, row);
}

#else

// Pairs of 16 bits, as on AVX2 (quads_avx2.h).
using RowInteger = int16_t;
constexpr int QUAD_PARTS = 2;
constexpr int QUAD_ORDER[4] = {0, 2, 1, 3};

template <int PART>
inline Words part_of_weights(Words bytes) {
  return PART == 1 ? _mm512_srli_epi16(bytes, 8) : _mm512_and_si512(bytes, _mm512_set1_epi16(0xff));
}
template <int PART>
inline RowPart part_of_row(const RowInteger* quad) {
  int32_t pair;
  std::memcpy(&pair, quad + 2 * PART, sizeof pair);
  return splat_word(pair);
}
inline Integers add_part(Integers sums, Words weights, RowPart row) {
  sums += (Integers)_mm512_madd_epi16(weights, row);
  asm("" : "+v"(sums));  // see quads_avx2.h
  return sums;
}

#endif

}  // namespace qwen_batch
