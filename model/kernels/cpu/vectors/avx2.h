// Vectors on AVX2 with FMA (vector.h): two registers each.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include <cstring>
#include "halves_x86.h"

namespace qwen_batch {

struct Floats {
  __m256 low, high;
};

struct Words {
  __m256i low, high;
};

constexpr int SUM_VECTORS = 6;  // 12 of 16 registers

inline Floats operator+(Floats a, Floats b) { return {a.low + b.low, a.high + b.high}; }
inline Floats operator-(Floats a, Floats b) { return {a.low - b.low, a.high - b.high}; }
inline Floats operator*(Floats a, Floats b) { return {a.low * b.low, a.high * b.high}; }
inline Floats operator/(Floats a, Floats b) { return {a.low / b.low, a.high / b.high}; }

inline Floats zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Floats splat(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline void store(float* to, Floats values) {
  _mm256_storeu_ps(to, values.low);
  _mm256_storeu_ps(to + 8, values.high);
}

// Return a * b + c and a * b - c, rounded once.
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Floats multiply_subtract(Floats a, Floats b, Floats c) {
  return {_mm256_fmsub_ps(a.low, b.low, c.low), _mm256_fmsub_ps(a.high, b.high, c.high)};
}

// Returns b where either is NaN.
inline Floats maximum(Floats a, Floats b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Floats magnitude(Floats a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline Floats nearest_integer(Floats a) {
  constexpr int MODE = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.low, MODE), _mm256_round_ps(a.high, MODE)};
}

// Returns a * 2^exponent, for whole exponents that are at most 0. Results below 2^-126 become zero.
inline Floats times_power_of_2(Floats a, Floats exponent) {
  const auto power = [](__m256 of) {
    const __m256i bounded = _mm256_cvtps_epi32(_mm256_max_ps(of, _mm256_set1_ps(-127.0f)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(bounded, _mm256_set1_epi32(127)), 23));
  };
  return {a.low * power(exponent.low), a.high * power(exponent.high)};
}

// `where`: a in the lanes of the mask, b in the others. `where_negative`: a in the lanes where `x` is below zero.
inline Floats where(Mask mask, Floats a, Floats b) {
  const auto selected = [](int bits) {
    const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), lanes), lanes));
  };
  return {_mm256_blendv_ps(b.low, a.low, selected(mask)), _mm256_blendv_ps(b.high, a.high, selected(mask >> 8))};
}
inline Floats where_negative(Floats x, Floats a, Floats b) {
  return {_mm256_blendv_ps(b.low, a.low, x.low), _mm256_blendv_ps(b.high, a.high, x.high)};
}

inline float sum_of_lanes(Floats a) {
  const __m256 eight = a.low + a.high;
  const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
  const __m128 two = four + _mm_movehl_ps(four, four);
  return two[0] + two[1];
}
inline float max_of_lanes(Floats a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return std::fmax(two[0], two[1]);
}
inline float max_of_lanes(Mask mask, Floats a) { return max_of_lanes(where(mask, a, splat(-INFINITY))); }

inline Words splat_word(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
inline Words load_words(const void* from) {
  const auto* words = static_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
inline void store_words(void* to, Words words) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), words.low);
  _mm256_storeu_si256(static_cast<__m256i*>(to) + 1, words.high);
}

// Whole numbers in float32.
inline Floats to_floats(Words a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }

// Integers, and 16 integers of 8 or 16 bits as integers.
inline Words add(Words a, Words b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
inline int32_t sum_of_lanes(Words a) {
  int32_t lanes[8], sum = 0;
  _mm256_storeu_si256((__m256i*)lanes, _mm256_add_epi32(a.low, a.high));
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}
inline Words nearest_words(Floats a) { return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)}; }
inline Words load_narrow(const int8_t* from) {
  const __m128i bytes = _mm_loadu_si128((const __m128i*)from);
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
inline Words load_narrow(const int16_t* from) {
  const __m256i halves = _mm256_loadu_si256((const __m256i*)from);
  return {_mm256_cvtepi16_epi32(_mm256_castsi256_si128(halves)),
          _mm256_cvtepi16_epi32(_mm256_extracti128_si256(halves, 1))};
}
inline __m256i narrowed(Words a) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xd8); }
inline void store_narrow(int16_t* to, Words a) { _mm256_storeu_si256((__m256i*)to, narrowed(a)); }
inline void store_narrow(int8_t* to, Words a) {
  const __m256i halves = narrowed(a);
  _mm_storeu_si128((__m128i*)to, _mm_packs_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
}

// The values of bfloat16 pairs in float32.
inline Floats odd_values(Words pairs) {
  const __m256 upper = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff0000));
  return {_mm256_and_ps(_mm256_castsi256_ps(pairs.low), upper), _mm256_and_ps(_mm256_castsi256_ps(pairs.high), upper)};
}
inline Floats even_values(Words pairs) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs.low, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(pairs.high, 16))};
}

inline Floats from_bfloat16(Halves values) {
  const auto widened = [](__m128i half) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  };
  return {widened(_mm256_castsi256_si128(values)), widened(_mm256_extracti128_si256(values, 1))};
}

// Rounds to nearest even. A NaN stays a NaN: its quiet bit is set, because without it the cut of the lower bits could
// leave an infinity.
inline Halves to_bfloat16(Floats values) {
  const auto upper_halves = [](__m256 of) {
    const __m256i bits = _mm256_castps_si256(of);
    const __m256i last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), last);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(of, of, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  };
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(upper_halves(values.low), upper_halves(values.high)), 0xd8);
}

inline Floats unpack_low(Floats a, Floats b) {
  return {_mm256_unpacklo_ps(a.low, b.low), _mm256_unpacklo_ps(a.high, b.high)};
}
inline Floats unpack_high(Floats a, Floats b) {
  return {_mm256_unpackhi_ps(a.low, b.low), _mm256_unpackhi_ps(a.high, b.high)};
}
inline Words unpack_low(Words a, Words b) {
  return {_mm256_unpacklo_epi32(a.low, b.low), _mm256_unpacklo_epi32(a.high, b.high)};
}
inline Words unpack_high(Words a, Words b) {
  return {_mm256_unpackhi_epi32(a.low, b.low), _mm256_unpackhi_epi32(a.high, b.high)};
}
inline Words unpack_low_pairs(Words a, Words b) {
  return {_mm256_unpacklo_epi64(a.low, b.low), _mm256_unpacklo_epi64(a.high, b.high)};
}
inline Words unpack_high_pairs(Words a, Words b) {
  return {_mm256_unpackhi_epi64(a.low, b.low), _mm256_unpackhi_epi64(a.high, b.high)};
}
inline Words words_of(Floats a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }
inline Floats floats_of(Words a) { return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)}; }
inline Floats unpack_low_pairs(Floats a, Floats b) { return floats_of(unpack_low_pairs(words_of(a), words_of(b))); }
inline Floats unpack_high_pairs(Floats a, Floats b) { return floats_of(unpack_high_pairs(words_of(a), words_of(b))); }
inline Words unpack_low_halves(Words a, Words b) {
  return {_mm256_unpacklo_epi16(a.low, b.low), _mm256_unpacklo_epi16(a.high, b.high)};
}
inline Words unpack_high_halves(Words a, Words b) {
  return {_mm256_unpackhi_epi16(a.low, b.low), _mm256_unpackhi_epi16(a.high, b.high)};
}

// Quarters 0 and 2 of a, then of b; and 1 and 3.
inline Words even_quarters(Words a, Words b) {
  return {_mm256_permute2x128_si256(a.low, a.high, 0x20), _mm256_permute2x128_si256(b.low, b.high, 0x20)};
}
inline Words odd_quarters(Words a, Words b) {
  return {_mm256_permute2x128_si256(a.low, a.high, 0x31), _mm256_permute2x128_si256(b.low, b.high, 0x31)};
}
inline Floats even_quarters(Floats a, Floats b) { return floats_of(even_quarters(words_of(a), words_of(b))); }
inline Floats odd_quarters(Floats a, Floats b) { return floats_of(odd_quarters(words_of(a), words_of(b))); }

// Quarters 0 and 1 of a, then of b; and 2 and 3.
inline Words first_quarters(Words a, Words b) { return {a.low, b.low}; }
inline Words last_quarters(Words a, Words b) { return {a.high, b.high}; }

// Interleave two vectors of 32 values of 16 bits (a0 b0 a1 b1 …): the lower 16 values of each, or the upper 16.
inline Words interleave_low(Words a, Words b) {
  const __m256i first = _mm256_unpacklo_epi16(a.low, b.low), second = _mm256_unpackhi_epi16(a.low, b.low);
  return {_mm256_permute2x128_si256(first, second, 0x20), _mm256_permute2x128_si256(first, second, 0x31)};
}
inline Words interleave_high(Words a, Words b) { return interleave_low({a.high, a.high}, {b.high, b.high}); }

}  // namespace qwen_batch
