// Operations on rows between the matrix products, in bfloat16: norms, rotation, gating. Each row's bits depend on that
// row alone.
//
// Values are rounded where the model's own operations round them (model/qwen3.py, model/rope.py).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vector_math.h"

#if QWEN_BATCH_HAS_AVX512

namespace qwen_batch {

inline __m512 load_row(const uint16_t* from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}

// Loads up to 16 values. If `count` is less than 16, only `count` values are read and the others are zero.
inline __m512 load_some(const uint16_t* from, int64_t count) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(count), from)), 16));
}

inline void store_row(uint16_t* to, __m512 values) { _mm256_storeu_si256((__m256i*)to, to_bfloat16(values)); }

// Rounds to bfloat16 and converts back.
inline __m512 rounded(__m512 values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(to_bfloat16(values)), 16));
}

// Returns 1 / rms(x) over n values.
inline __m512 inverse_rms(const uint16_t* x, int64_t n, float eps) {
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += LANES) {
    const __m512 values = load_row(x + i);
    squares = _mm512_fmadd_ps(values, values, squares);
  }
  return _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / static_cast<float>(n) + eps));
}

// Returns 16 values of a row, normalised, rounded, multiplied by their weights and rounded again.
inline __m512 normalised(const uint16_t* x, const uint16_t* weight, __m512 inverse) {
  return rounded(_mm512_mul_ps(load_row(weight), rounded(_mm512_mul_ps(load_row(x), inverse))));
}

inline void rms_norm_row(const uint16_t* x, const uint16_t* weight, uint16_t* out, int64_t n, float eps) {
  const __m512 inverse = inverse_rms(x, n, eps);
  for (int64_t i = 0; i < n; i += LANES) store_row(out + i, normalised(x + i, weight + i, inverse));
}

// Normalises a head, then rotates dimension i together with dimension i + dim / 2. `x` and `out` may be the same.
inline void norm_and_rotate(const uint16_t* x, const uint16_t* weight, const float* cos, const float* sin,
                            uint16_t* out, int64_t dim, float eps) {
  const __m512 inverse = inverse_rms(x, dim, eps);
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; i += LANES) {
    const __m512 first = normalised(x + i, weight + i, inverse),
                 second = normalised(x + half + i, weight + half + i, inverse);
    const __m512 c = _mm512_loadu_ps(cos + i), s = _mm512_loadu_ps(sin + i);
    store_row(out + i, _mm512_sub_ps(_mm512_mul_ps(first, c), _mm512_mul_ps(second, s)));
    store_row(out + half + i, _mm512_add_ps(_mm512_mul_ps(second, c), _mm512_mul_ps(first, s)));
  }
}

inline void add_row(const uint16_t* a, const uint16_t* b, uint16_t* out, int64_t n) {
  for (int64_t i = 0; i < n; i += LANES) store_row(out + i, _mm512_add_ps(load_row(a + i), load_row(b + i)));
}

// Computes silu(gate) * up.
inline void swiglu_row(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t n) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < n; i += LANES) {
    const __m512 x = load_row(gate + i);
    const __m512 e = exp_of_negative(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_abs_ps(x)));  // e^-|x|
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    const __m512 sigmoid = _mm512_div_ps(_mm512_mask_mov_ps(one, negative, e), _mm512_add_ps(one, e));
    store_row(out + i, _mm512_mul_ps(rounded(_mm512_mul_ps(x, sigmoid)), load_row(up + i)));
  }
}

}  // namespace qwen_batch

#endif
