// Products of quads of 8-bit values on processors without AVX2 (quads.h).
#pragma once

#include "vector.h"

namespace qwen_batch {

constexpr int QUAD_SUMS = 4;  // vectors of sums that stay in registers

using Integers = Words;

struct WeightQuads {
  Words value[4];
};
struct RowQuad {
  int32_t value[4];
};

inline Integers splat_integer(int32_t value) { return splat_word(value); }
inline WeightQuads load_weight_quads(const uint8_t* from) {
  const UnsignedWords bytes = (UnsignedWords)load_words(from);
  return {{(Words)(bytes & 0xffu), (Words)(bytes >> 8 & 0xffu), (Words)(bytes >> 16 & 0xffu), (Words)(bytes >> 24)}};
}
inline RowQuad row_quad(int32_t quad) {
  RowQuad row;
  for (int i = 0; i < 4; ++i) row.value[i] = static_cast<int8_t>(static_cast<uint32_t>(quad) >> 8 * i);
  return row;
}
inline Integers add_quads(Integers sums, WeightQuads weights, RowQuad row) {
  for (int i = 0; i < 4; ++i) sums += weights.value[i] * row.value[i];
  return sums;
}

}  // namespace qwen_batch
