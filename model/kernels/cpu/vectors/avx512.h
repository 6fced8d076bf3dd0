// Vectors on AVX-512 (vector.h): one register each.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "halves_x86.h"

namespace qwen_batch {

using Floats = __m512;
using Words = __m512i;

constexpr int SUM_VECTORS = 24;  // registers that hold sums, of 32

inline Floats zeros() { return _mm512_setzero_ps(); }
inline Floats splat(float value) { return _mm512_set1_ps(value); }
inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Floats values) { _mm512_storeu_ps(to, values); }

// Return a * b + c and a * b - c, rounded once.
inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm512_fmsub_ps(a, b, c); }

// Returns b where either is NaN.
inline Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats magnitude(Floats a) { return _mm512_abs_ps(a); }
inline Floats nearest_integer(Floats a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// Returns a * 2^exponent, for whole exponents that are at most 0.
inline Floats times_power_of_2(Floats a, Floats exponent) { return _mm512_scalef_ps(a, exponent); }

// `where`: a in the lanes of the mask, b in the others. `where_negative`: a in the lanes where `x` is below zero.
inline Floats where(Mask mask, Floats a, Floats b) { return _mm512_mask_mov_ps(b, mask, a); }
inline Floats where_negative(Floats x, Floats a, Floats b) {
  return where(_mm512_cmp_ps_mask(x, zeros(), _CMP_LT_OQ), a, b);
}

inline float sum_of_lanes(Floats a) { return _mm512_reduce_add_ps(a); }
inline float max_of_lanes(Floats a) { return _mm512_reduce_max_ps(a); }
inline float max_of_lanes(Mask mask, Floats a) { return _mm512_mask_reduce_max_ps(mask, a); }  // -inf if there is none

inline Words splat_word(int32_t value) { return _mm512_set1_epi32(value); }
inline Words load_words(const void* from) { return _mm512_loadu_si512(from); }
inline void store_words(void* to, Words words) { _mm512_storeu_si512(to, words); }

// Whole numbers in float32.
inline Floats to_floats(Words a) { return _mm512_cvtepi32_ps(a); }

// Integers, and 16 integers of 8 or 16 bits as integers.
inline Words add(Words a, Words b) { return _mm512_add_epi32(a, b); }
inline int32_t sum_of_lanes(Words a) { return _mm512_reduce_add_epi32(a); }
inline Words nearest_words(Floats a) { return _mm512_cvtps_epi32(a); }
inline Words load_narrow(const int8_t* from) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)from)); }
inline Words load_narrow(const int16_t* from) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i*)from));
}
inline void store_narrow(int8_t* to, Words a) { _mm_storeu_si128((__m128i*)to, _mm512_cvtsepi32_epi8(a)); }
inline void store_narrow(int16_t* to, Words a) { _mm256_storeu_si256((__m256i*)to, _mm512_cvtsepi32_epi16(a)); }

// The values of bfloat16 pairs in float32.
inline Floats odd_values(Words pairs) { return _mm512_castsi512_ps(_mm512_and_si512(pairs, splat_word(0xffff0000))); }
inline Floats even_values(Words pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }

// Only the lanes of the mask touch memory. Other lanes are loaded as zero.
inline Halves load_halves(Mask mask, const uint16_t* from) { return _mm256_maskz_loadu_epi16(mask, from); }
inline void store_halves(Mask mask, uint16_t* to, Halves values) { _mm256_mask_storeu_epi16(to, mask, values); }

inline Floats from_bfloat16(Halves values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}

// Rounds to nearest even. A NaN stays a NaN: its quiet bit is set, because without it the cut of the lower bits could
// leave an infinity.
inline Halves to_bfloat16(Floats values) {
#if defined(__AVX512BF16__)
  return (Halves)_mm512_cvtneps_pbh(values);
#else
  const __m512i bits = _mm512_castps_si512(values), one = _mm512_set1_epi32(1);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), last);
  const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

inline Floats unpack_low(Floats a, Floats b) { return _mm512_unpacklo_ps(a, b); }
inline Floats unpack_high(Floats a, Floats b) { return _mm512_unpackhi_ps(a, b); }
inline Floats unpack_low_pairs(Floats a, Floats b) {
  return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
inline Floats unpack_high_pairs(Floats a, Floats b) {
  return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
inline Words unpack_low(Words a, Words b) { return _mm512_unpacklo_epi32(a, b); }
inline Words unpack_high(Words a, Words b) { return _mm512_unpackhi_epi32(a, b); }
inline Words unpack_low_pairs(Words a, Words b) { return _mm512_unpacklo_epi64(a, b); }
inline Words unpack_high_pairs(Words a, Words b) { return _mm512_unpackhi_epi64(a, b); }
inline Words unpack_low_halves(Words a, Words b) { return _mm512_unpacklo_epi16(a, b); }
inline Words unpack_high_halves(Words a, Words b) { return _mm512_unpackhi_epi16(a, b); }

// Quarters 0 and 2 of a, then of b; and 1 and 3.
inline Floats even_quarters(Floats a, Floats b) { return _mm512_shuffle_f32x4(a, b, 0x88); }
inline Floats odd_quarters(Floats a, Floats b) { return _mm512_shuffle_f32x4(a, b, 0xdd); }
inline Words even_quarters(Words a, Words b) { return _mm512_shuffle_i32x4(a, b, 0x88); }
inline Words odd_quarters(Words a, Words b) { return _mm512_shuffle_i32x4(a, b, 0xdd); }

// Quarters 0 and 1 of a, then of b; and 2 and 3.
inline Words first_quarters(Words a, Words b) { return _mm512_shuffle_i32x4(a, b, 0x44); }
inline Words last_quarters(Words a, Words b) { return _mm512_shuffle_i32x4(a, b, 0xee); }

// Interleave two vectors of 32 values of 16 bits (a0 b0 a1 b1 …): the lower 16 values of each, or the upper 16.
inline Words interleave_low(Words a, Words b) {
  return _mm512_permutex2var_epi64(unpack_low_halves(a, b), _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                                   unpack_high_halves(a, b));
}
inline Words interleave_high(Words a, Words b) {
  return _mm512_permutex2var_epi64(unpack_low_halves(a, b), _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15),
                                   unpack_high_halves(a, b));
}

}  // namespace qwen_batch
