// Products of quads of 8-bit values on AVX2 (quads.h).
#pragma once

#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 4;  // vectors of sums that stay in registers

using Integers = Words;

inline Integers splat_integer(int32_t value) { return splat_word(value); }

#if defined(__AVXVNNI__)

using WeightQuads = Words;
using RowQuad = __m256i;

inline WeightQuads load_weight_quads(const uint8_t* from) { return load_words(from); }
inline RowQuad row_quad(int32_t quad) { return _mm256_set1_epi32(quad); }
inline Integers add_quads(Integers sums, WeightQuads weights, RowQuad row) {
  return {_mm256_dpbusd_avx_epi32(sums.low, weights.low, row), _mm256_dpbusd_avx_epi32(sums.high, weights.high, row)};
}

#else

// Two values of each quad in 16 bits: values 0 and 2 in `even`, 1 and 3 in `odd`. Sums of two products of 8 bits do not
// fit into 16 bits, so the instruction that multiplies bytes (vpmaddubsw) would saturate.
struct WeightQuads {
  Words even, odd;
};
struct RowQuad {
  __m256i even, odd;
};

inline WeightQuads load_weight_quads(const uint8_t* from) {
  const Words bytes = load_words(from);
  const __m256i lower = _mm256_set1_epi16(0xff);
  return {
      {_mm256_and_si256(bytes.low, lower), _mm256_and_si256(bytes.high, lower)},
      {_mm256_srli_epi16(bytes.low, 8), _mm256_srli_epi16(bytes.high, 8)},
  };
}
inline RowQuad row_quad(int32_t quad) {
  const __m256i bytes = _mm256_set1_epi32(quad);
  return {_mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8), _mm256_srai_epi16(bytes, 8)};
}
inline Integers add_quads(Integers sums, WeightQuads weights, RowQuad row) {
  const auto added = [&](__m256i sum, __m256i even, __m256i odd) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, row.even));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(odd, row.odd));
  };
  return {added(sums.low, weights.even.low, weights.odd.low), added(sums.high, weights.even.high, weights.odd.high)};
}

#endif

}  // namespace qwen_batch
