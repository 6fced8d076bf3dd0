// Products of quads of 8-bit values on AVX-512 (quads.h).
#pragma once

#include <cstdint>

#include "quads_x86.h"
#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 16;  // vectors of sums that stay in registers

// If sums are held as __m512i, GCC 12 copies and spills them, at half the speed.
typedef int32_t Integers __attribute__((vector_size(64)));
using RowPart = Words;

inline Integers splat_integer(int32_t value) { return (Integers)splat_word(value); }
inline Integers first_sums(int32_t offset) { return splat_integer(-offset); }
inline Floats to_floats(Integers sums) { return to_floats((Words)sums); }

template <int PART>
inline RowPart part_of_row(const RowInteger* quad) {
  return splat_word(numbers_of_part<PART>(quad));
}

#if QWEN_BATCH_HAS_VNNI

inline Integers add_part(Integers sums, Words weights, RowPart row) {
  return (Integers)_mm512_dpbusd_epi32((__m512i)sums, weights, row);
}

#else

template <int PART>
inline Words part_of_weights(Words bytes) {
  return PART == 1 ? _mm512_srli_epi16(bytes, 8) : _mm512_and_si512(bytes, _mm512_set1_epi16(0xff));
}
inline Integers add_part(Integers sums, Words weights, RowPart row) {
  sums += (Integers)_mm512_madd_epi16(weights, row);
  asm("" : "+v"(sums));  // see quads_avx2.h
  return sums;
}

#endif

}  // namespace qwen_batch
