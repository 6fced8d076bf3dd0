// Vector operations that kernels share: 16 floats per register, and bfloat16 pairs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define QWEN_BATCH_HAS_AVX512 1
#include "bfloat16_dot.h"
#else
#define QWEN_BATCH_HAS_AVX512 0
#endif

namespace qwen_batch {

constexpr float LOWEST = -1e30f;  // lower than any attention score, and safe to subtract

inline float to_float(float value) { return value; }

inline float to_float(uint16_t bfloat16) {
  const uint32_t bits = static_cast<uint32_t>(bfloat16) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void from_float(float value, float* out) { *out = value; }

// Rounds to nearest even; a NaN stays a NaN.
inline void from_float(float value, uint16_t* out) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  *out = value != value ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#if QWEN_BATCH_HAS_AVX512

constexpr int64_t LANES = 16;

// Returns a mask of the first `count` lanes: no lane if `count` is below 0, all lanes from 16 on.
inline __mmask16 first_lanes(int64_t count) {
  return count >= LANES ? 0xffff : static_cast<__mmask16>((1u << std::max<int64_t>(0, count)) - 1);
}

constexpr float LOG2_E = 1.44269504f;

// Returns 2^x for x <= 0, accurate enough for bfloat16 (about 2 ulp). Uses the Taylor terms of 2^f with |f| <= 1/2.
inline __m512 exp2_of_negative(__m512 x) {
  const __m512 nearest = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, nearest);
  __m512 p = _mm512_set1_ps(1.33335581e-3f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.61812911e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93147181e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, nearest);
}

// Returns e^x for x <= 0.
inline __m512 exp_of_negative(__m512 x) {
  return exp2_of_negative(_mm512_mul_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(LOG2_E)));
}

// Does one step of combining the lanes of N registers in pairs. `a` comes from the first half of the registers, `b`
// from the second. After the steps for 2, 4, 8 and 16, each lane holds the result of one register, in register order.
template <int N, typename Combine>
inline __m512 combined(__m512 a, __m512 b, const Combine& combine) {
  if constexpr (N == 2) return combine(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  if constexpr (N == 4) {
    const __m512d first = _mm512_castps_pd(a), second = _mm512_castps_pd(b);
    return combine(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
                   _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
  }
  return combine(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// Combines all lanes of each of N registers. Returns the N results in one register.
template <int N, typename Combine>
inline __m512 combined_of(const __m512* v, const Combine& combine) {
  if constexpr (N == 1) return *v;
  else return combined<N>(combined_of<N / 2>(v, combine), combined_of<N / 2>(v + N / 2, combine), combine);
}

inline __m512 sums_of_16(const __m512* v) {
  return combined_of<16>(v, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
}

inline __m512 maxima_of_16(const __m512* v) {
  return combined_of<16>(v, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
}

// Transposes 16 x 16 values of 32 bits in place.
inline void transpose_16(__m512i* rows) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = _mm512_unpacklo_epi64(a[i + j], a[i + j + 2]);
      b[i + 2 * j + 1] = _mm512_unpackhi_epi64(a[i + j], a[i + j + 2]);
    }
  // Quarter l of b[4 g + c] holds column 4 l + c of rows 4 g to 4 g + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i low = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44), high = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xee);
    const __m512i low2 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44);
    const __m512i high2 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xee);
    rows[c] = _mm512_shuffle_i32x4(low, low2, 0x88);
    rows[4 + c] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    rows[8 + c] = _mm512_shuffle_i32x4(high, high2, 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
}

// Interleave two registers of 32 values of 16 bits (a0 b0 a1 b1 …): the lower 16 values of each, or the upper 16.
inline __m512i interleave_low(__m512i a, __m512i b) {
  const __m512i first = _mm512_unpacklo_epi16(a, b), second = _mm512_unpackhi_epi16(a, b);
  return _mm512_permutex2var_epi64(first, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second);
}

inline __m512i interleave_high(__m512i a, __m512i b) {
  const __m512i first = _mm512_unpacklo_epi16(a, b), second = _mm512_unpackhi_epi16(a, b);
  return _mm512_permutex2var_epi64(first, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), second);
}

#endif

}  // namespace qwen_batch
