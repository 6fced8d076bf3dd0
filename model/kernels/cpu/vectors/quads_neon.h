// Products of quads of 8-bit values on ARM with dot products (quads.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 6;  // vectors of sums that stay in registers: 24 of 32 registers

using Integers = Words;
using RowInteger = int8_t;
using RowPart = int8x16_t;

constexpr int QUAD_PARTS = 1;
constexpr int QUAD_ORDER[4] = {0, 1, 2, 3};

inline Integers splat_integer(int32_t value) { return splat_word(value); }

template <int PART>
inline RowPart part_of_row(const RowInteger* quad) {
  int32_t values;
  std::memcpy(&values, quad, sizeof values);
  return vreinterpretq_s8_s32(vdupq_n_s32(values));
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

inline Integers first_sums(int32_t offset) { return splat_integer(-offset); }

template <int PART>
inline Words part_of_weights(Words bytes) {
  return bytes;
}
inline Integers add_part(Integers sums, Words weights, RowPart row) {
  const auto added = [row](int32x4_t sum, int32x4_t quads) {
    return vusdotq_s32(sum, vreinterpretq_u8_s32(quads), row);
  };
  return each<Integers>(added, sums, weights);
}

#else

// The instruction multiplies signed bytes only. It therefore takes weights without the 128 that are added to them, and
// no offset needs to be subtracted.
inline Integers first_sums(int32_t) { return splat_integer(0); }

template <int PART>
inline Words part_of_weights(Words bytes) {
  return each<Words>([](int32x4_t x) { return veorq_s32(x, vdupq_n_s32(static_cast<int32_t>(0x80808080u))); }, bytes);
}
inline Integers add_part(Integers sums, Words weights, RowPart row) {
  const auto added = [row](int32x4_t sum, int32x4_t quads) { return vdotq_s32(sum, vreinterpretq_s8_s32(quads), row); };
  return each<Integers>(added, sums, weights);
}

#endif

}  // namespace qwen_batch
