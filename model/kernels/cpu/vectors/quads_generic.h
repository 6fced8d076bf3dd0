// Products of quads of 8-bit values on processors without AVX2 (quads.h).
#pragma once

#include <cstdint>

#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 4;  // vectors of sums that stay in registers

using Integers = Words;
using RowInteger = int8_t;
using RowPart = Words;

constexpr int QUAD_PARTS = 4;
constexpr int QUAD_ORDER[4] = {0, 1, 2, 3};

inline Integers splat_integer(int32_t value) { return splat_word(value); }
inline Integers first_sums(int32_t offset) { return splat_integer(-offset); }

template <int PART>
inline Words part_of_weights(Words bytes) {
  return (Words)((UnsignedWords)bytes >> 8 * PART & 0xffu);
}
template <int PART>
inline RowPart part_of_row(const RowInteger* quad) {
  return splat_word(quad[PART]);
}
inline Integers add_part(Integers sums, Words weights, RowPart row) { return sums + weights * row; }

}  // namespace qwen_batch
