// Operations on rows between the matrix products, in bfloat16: norms, rotation, gating. Each row's bits depend on that
// row alone.
//
// Values are rounded where the model's own operations round them (model/qwen3.py, model/rope.py).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vector_math.h"

namespace qwen_batch {

inline Floats load_row(const uint16_t* from) { return from_bfloat16(load_halves(from)); }

// Loads up to 16 values. If `count` is less than 16, only `count` values are read and the others are zero.
inline Floats load_some(const uint16_t* from, int64_t count) {
  return from_bfloat16(load_halves(first_lanes(count), from));
}

inline void store_row(uint16_t* to, Floats values) { store_halves(to, to_bfloat16(values)); }

// Rounds to bfloat16 and converts back.
inline Floats rounded(Floats values) { return from_bfloat16(to_bfloat16(values)); }

// Returns 1 / rms(x) over n values.
inline Floats inverse_rms(const uint16_t* x, int64_t n, float eps) {
  Floats squares = zeros();
  for (int64_t i = 0; i < n; i += LANES) {
    const Floats values = load_row(x + i);
    squares = multiply_add(values, values, squares);
  }
  return splat(1.0f / std::sqrt(sum_of_lanes(squares) / static_cast<float>(n) + eps));
}

// Returns 16 values of a row, normalised, rounded, multiplied by their weights and rounded again.
inline Floats normalised(const uint16_t* x, const uint16_t* weight, Floats inverse) {
  return rounded(load_row(weight) * rounded(load_row(x) * inverse));
}

inline void rms_norm_row(const uint16_t* x, const uint16_t* weight, uint16_t* out, int64_t n, float eps) {
  const Floats inverse = inverse_rms(x, n, eps);
  for (int64_t i = 0; i < n; i += LANES) store_row(out + i, normalised(x + i, weight + i, inverse));
}

// Normalises a head, then rotates dimension i together with dimension i + dim / 2. `x` and `out` may be the same.
inline void norm_and_rotate(const uint16_t* x, const uint16_t* weight, const float* cos, const float* sin,
                            uint16_t* out, int64_t dim, float eps) {
  const Floats inverse = inverse_rms(x, dim, eps);
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; i += LANES) {
    const Floats first = normalised(x + i, weight + i, inverse),
                 second = normalised(x + half + i, weight + half + i, inverse);
    const Floats c = load(cos + i), s = load(sin + i);
    store_row(out + i, first * c - second * s);
    store_row(out + half + i, second * c + first * s);
  }
}

inline void add_row(const uint16_t* a, const uint16_t* b, uint16_t* out, int64_t n) {
  for (int64_t i = 0; i < n; i += LANES) store_row(out + i, load_row(a + i) + load_row(b + i));
}

// Computes silu(gate) * up.
inline void swiglu_row(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t n) {
  const Floats one = splat(1.0f);
  for (int64_t i = 0; i < n; i += LANES) {
    const Floats x = load_row(gate + i);
    const Floats e = exp_of_negative(zeros() - magnitude(x));  // e^-|x|
    const Floats sigmoid = where_negative(x, e, one) / (one + e);
    store_row(out + i, rounded(x * sigmoid) * load_row(up + i));
  }
}

}  // namespace qwen_batch
