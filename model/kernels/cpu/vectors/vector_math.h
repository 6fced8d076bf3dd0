// Scalar and vector operations that kernels share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "bfloat16_dot.h"
#include "vector.h"

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

// Returns a mask of the first `count` lanes: no lane if `count` is below 0, all lanes from 16 on.
inline Mask first_lanes(int64_t count) {
  return count >= LANES ? 0xffff : static_cast<Mask>((1u << std::max<int64_t>(0, count)) - 1);
}

// Sets `count` values to zero, a multiple of LANES. The barrier keeps GCC from making one instruction of the loop, as
// it does of `= {}`: `rep stos` is slow to start, and showed in profiles of products with 8-bit weights.
inline void clear(float* values, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES) {
    store(values + i, zeros());
    asm("" ::: "memory");
  }
}

constexpr float LOG2_E = 1.44269504f;

// Returns 2^x for x <= 0, accurate enough for bfloat16 (about 2 ulp). Uses the Taylor terms of 2^f with |f| <= 1/2.
inline Floats exp2_of_negative(Floats x) {
  const Floats nearest = nearest_integer(x);
  const Floats f = x - nearest;
  Floats p = splat(1.33335581e-3f);
  p = multiply_add(p, f, splat(9.61812911e-3f));
  p = multiply_add(p, f, splat(5.55041087e-2f));
  p = multiply_add(p, f, splat(2.40226507e-1f));
  p = multiply_add(p, f, splat(6.93147181e-1f));
  p = multiply_add(p, f, splat(1.0f));
  return times_power_of_2(p, nearest);
}

// Returns e^x for x <= 0.
inline Floats exp_of_negative(Floats x) { return exp2_of_negative(maximum(x, splat(-87.0f)) * splat(LOG2_E)); }

// Does one step of combining the lanes of N vectors in pairs. `a` comes from the first half of the vectors, `b` from
// the second. After the steps for 2, 4, 8 and 16, each lane holds the result of one vector, in their order.
template <int N, typename Combine>
inline Floats combined(Floats a, Floats b, const Combine& combine) {
  if constexpr (N == 2) return combine(unpack_low(a, b), unpack_high(a, b));
  if constexpr (N == 4) return combine(unpack_low_pairs(a, b), unpack_high_pairs(a, b));
  return combine(even_quarters(a, b), odd_quarters(a, b));
}

// Combines all lanes of each of N vectors. Returns the N results in one vector.
template <int N, typename Combine>
inline Floats combined_of(const Floats* v, const Combine& combine) {
  if constexpr (N == 1) return *v;
  else return combined<N>(combined_of<N / 2>(v, combine), combined_of<N / 2>(v + N / 2, combine), combine);
}

inline Floats sums_of_16(const Floats* v) {
  return combined_of<16>(v, [](Floats a, Floats b) { return a + b; });
}

inline Floats maxima_of_16(const Floats* v) {
  return combined_of<16>(v, [](Floats a, Floats b) { return maximum(a, b); });
}

// Transposes 16 x 16 values of 32 bits in place.
inline void transpose_16(Words* rows) {
  Words a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = unpack_low(rows[i], rows[i + 1]);
    a[i + 1] = unpack_high(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = unpack_low_pairs(a[i + j], a[i + j + 2]);
      b[i + 2 * j + 1] = unpack_high_pairs(a[i + j], a[i + j + 2]);
    }
  // Quarter l of b[4 g + c] holds column 4 l + c of rows 4 g to 4 g + 3.
  for (int c = 0; c < 4; ++c) {
    const Words low = first_quarters(b[c], b[4 + c]), high = last_quarters(b[c], b[4 + c]);
    const Words low2 = first_quarters(b[8 + c], b[12 + c]), high2 = last_quarters(b[8 + c], b[12 + c]);
    rows[c] = even_quarters(low, low2);
    rows[4 + c] = odd_quarters(low, low2);
    rows[8 + c] = even_quarters(high, high2);
    rows[12 + c] = odd_quarters(high, high2);
  }
}

}  // namespace qwen_batch
