// Products of quads of 8-bit values on AVX2 (quads.h).
#pragma once

#include <cstdint>

#include "quads_x86.h"
#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 6;  // vectors of sums that stay in registers: 12 of 16 registers

// If sums are held as __m256i, GCC 12 writes them to memory in every step.
typedef int32_t EightIntegers __attribute__((vector_size(32)));
struct Integers {
  EightIntegers low, high;
};
using RowPart = __m256i;

inline Integers splat_integer(int32_t value) { return {value - EightIntegers{}, value - EightIntegers{}}; }
inline Integers first_sums(int32_t offset) { return splat_integer(-offset); }
inline Floats to_floats(Integers sums) { return to_floats(Words{(__m256i)sums.low, (__m256i)sums.high}); }

template <int PART>
inline RowPart part_of_row(const RowInteger* quad) {
  return _mm256_set1_epi32(numbers_of_part<PART>(quad));
}

#if QWEN_BATCH_HAS_VNNI

inline Integers add_part(Integers sums, Words weights, RowPart row) {
  return {(EightIntegers)_mm256_dpbusd_avx_epi32((__m256i)sums.low, weights.low, row),
          (EightIntegers)_mm256_dpbusd_avx_epi32((__m256i)sums.high, weights.high, row)};
}

#else

template <int PART>
inline Words part_of_weights(Words bytes) {
  if constexpr (PART == 1) return {_mm256_srli_epi16(bytes.low, 8), _mm256_srli_epi16(bytes.high, 8)};
  const __m256i lower = _mm256_set1_epi16(0xff);
  return {_mm256_and_si256(bytes.low, lower), _mm256_and_si256(bytes.high, lower)};
}
inline Integers add_part(Integers sums, Words weights, RowPart row) {
  const auto added = [row](EightIntegers sum, __m256i pairs) {
    sum += (EightIntegers)_mm256_madd_epi16(pairs, row);
    // Without this the compiler first adds the products of both parts, and then no longer has registers for the sums.
    asm("" : "+x"(sum));
    return sum;
  };
  return {added(sums.low, weights.low), added(sums.high, weights.high)};
}

#endif

}  // namespace qwen_batch
