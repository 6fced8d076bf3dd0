// Products of quads of 8-bit values on AVX-512 (quads.h).
#pragma once

#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 16;  // vectors of sums that stay in registers

// If sums are held as __m512i, GCC 12 copies and spills them, at half the speed.
typedef int32_t Integers __attribute__((vector_size(64)));

inline Integers splat_integer(int32_t value) { return (Integers)splat_word(value); }
inline Floats to_floats(Integers sums) { return to_floats((Words)sums); }

#if defined(__AVX512VNNI__)

using WeightQuads = Words;
using RowQuad = Words;

inline WeightQuads load_weight_quads(const uint8_t* from) { return load_words(from); }
inline RowQuad row_quad(int32_t quad) { return splat_word(quad); }
inline Integers add_quads(Integers sums, WeightQuads weights, RowQuad row) {
  return (Integers)_mm512_dpbusd_epi32((__m512i)sums, weights, row);
}

#else

// Two values of each quad in 16 bits: values 0 and 2 in `even`, 1 and 3 in `odd`.
struct WeightQuads {
  __m512i even, odd;
};
using RowQuad = WeightQuads;

inline WeightQuads load_weight_quads(const uint8_t* from) {
  const __m512i bytes = load_words(from);
  return {_mm512_and_si512(bytes, _mm512_set1_epi16(0xff)), _mm512_srli_epi16(bytes, 8)};
}
inline RowQuad row_quad(int32_t quad) {
  const __m512i bytes = splat_word(quad);
  return {_mm512_srai_epi16(_mm512_slli_epi16(bytes, 8), 8), _mm512_srai_epi16(bytes, 8)};
}
inline Integers add_quads(Integers sums, WeightQuads weights, RowQuad row) {
  return sums + (Integers)_mm512_madd_epi16(weights.even, row.even) + (Integers)_mm512_madd_epi16(weights.odd, row.odd);
}

#endif

}  // namespace qwen_batch
