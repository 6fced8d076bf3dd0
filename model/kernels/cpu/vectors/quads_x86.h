// The parts of a quad of 8-bit values on x86-64 (quads.h), with AVX2 and with AVX-512.
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

#if QWEN_BATCH_HAS_AVX512 ? defined(__AVX512VNNI__) : defined(__AVXVNNI__)
#define QWEN_BATCH_HAS_VNNI 1
#else
#define QWEN_BATCH_HAS_VNNI 0
#endif

namespace qwen_batch {

#if QWEN_BATCH_HAS_VNNI

using RowInteger = int8_t;
constexpr int QUAD_PARTS = 1;
constexpr int QUAD_ORDER[4] = {0, 1, 2, 3};

template <int PART>
inline Words part_of_weights(Words bytes) {
  return bytes;
}

#else

// Sums of two products of 8 bits do not fit into 16 bits, so the instruction that multiplies bytes (vpmaddubsw) would
// saturate. Instead, pairs of 16 bits are multiplied. Rows hold 16 bits, so that only weights need to be widened.
using RowInteger = int16_t;
constexpr int QUAD_PARTS = 2;
constexpr int QUAD_ORDER[4] = {0, 2, 1, 3};

#endif

// Returns the values of a row that one part multiplies, as one number of 32 bits.
template <int PART>
inline int32_t numbers_of_part(const RowInteger* quad) {
  int32_t numbers;
  std::memcpy(&numbers, quad + 2 * PART, sizeof numbers);
  return numbers;
}

}  // namespace qwen_batch
