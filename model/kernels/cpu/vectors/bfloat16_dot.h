// Dot products of bfloat16 pairs on 16 lanes.
//
// AVX512-BF16 has an instruction for this. Other processors widen to float32 and use two multiply-adds. Their order is
// that of the instruction: the odd values of a pair come first.
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

namespace qwen_batch {

// How the kernels hold the rows that they multiply with weights, keys or values. AVX-512 widens pairs in its registers.
// Other processors have half the lanes per register, so the same work would take twice as long. They widen each value
// once, in advance.
#if QWEN_BATCH_HAS_AVX512
using RowValue = uint16_t;
#else
using RowValue = float;
#endif
constexpr bool WIDENS_ROWS = sizeof(RowValue) == sizeof(float);

// Returns two adjacent bfloat16 values as one 32-bit number.
inline int32_t pair_at(const uint16_t* values) {
  int32_t pair;
  std::memcpy(&pair, values, sizeof pair);
  return pair;
}

// Returns sum + a[2i] * b[2i] + a[2i + 1] * b[2i + 1] in each lane i.
inline Floats add_dots(Floats sum, Words a, Words b) {
#if QWEN_BATCH_HAS_AVX512 && defined(__AVX512BF16__)
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
  sum = multiply_add(odd_values(a), odd_values(b), sum);
  return multiply_add(even_values(a), even_values(b), sum);
#endif
}

// Returns a pair's odd or even value in every lane.
inline Floats odd_value(const uint16_t* pair) { return odd_values(splat_word(pair_at(pair))); }
inline Floats even_value(const uint16_t* pair) { return even_values(splat_word(pair_at(pair))); }
inline Floats odd_value(const float* pair) { return splat(pair[1]); }
inline Floats even_value(const float* pair) { return splat(pair[0]); }

// Pairs that are multiplied many times: as they are, or widened in advance.
#if QWEN_BATCH_HAS_AVX512
using KeptPairs = Words;
inline KeptPairs kept(Words pairs) { return pairs; }
inline KeptPairs kept_pair(const uint16_t* pair) { return splat_word(pair_at(pair)); }
#else
struct KeptPairs {
  Floats odd, even;
};
inline KeptPairs kept(Words pairs) { return {odd_values(pairs), even_values(pairs)}; }
inline KeptPairs kept_pair(const float* pair) { return {odd_value(pair), even_value(pair)}; }
inline Floats add_dots(Floats sum, KeptPairs a, Words b) {
  return multiply_add(a.even, even_values(b), multiply_add(a.odd, odd_values(b), sum));
}
#endif

// Adds the products of ROWS rows and COLUMNS vectors of columns, for one pair of the summed axis. `sums[r][c]` gets the
// dot product of the pair at `pair_of(r)` and vector c of `columns`. The vectors lie side by side in `columns`.
template <int ROWS, int COLUMNS, typename PairOf>
inline void add_outer(Floats (&sums)[ROWS][COLUMNS], const uint16_t* columns, const PairOf& pair_of) {
#if QWEN_BATCH_HAS_AVX512 && defined(__AVX512BF16__)
  Words loaded[COLUMNS];
  for (int c = 0; c < COLUMNS; ++c) loaded[c] = load_words(columns + c * 32);
  for (int r = 0; r < ROWS; ++r) {
    const Words both = splat_word(pair_at(pair_of(r)));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = add_dots(sums[r][c], loaded[c], both);
  }
#else
  // First the odd, then the even values: both halves of all columns do not fit into the registers next to the sums.
  Floats half[COLUMNS];
  for (int c = 0; c < COLUMNS; ++c) half[c] = odd_values(load_words(columns + c * 32));
  for (int r = 0; r < ROWS; ++r) {
    const Floats value = odd_value(pair_of(r));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = multiply_add(half[c], value, sums[r][c]);
  }
  for (int c = 0; c < COLUMNS; ++c) half[c] = even_values(load_words(columns + c * 32));
  for (int r = 0; r < ROWS; ++r) {
    const Floats value = even_value(pair_of(r));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = multiply_add(half[c], value, sums[r][c]);
  }
#endif
}

// Copies bfloat16 values to the form of `RowValue`. `count` is a multiple of LANES for the vectors.
inline void copy_row(uint16_t* to, const uint16_t* from, int64_t count) { std::memcpy(to, from, count * sizeof *from); }
inline void copy_row(float* to, const uint16_t* from, int64_t count) {
  for (int64_t i = 0; i + LANES <= count; i += LANES) store(to + i, from_bfloat16(load_halves(from + i)));
  for (int64_t i = count / LANES * LANES; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
    std::memcpy(to + i, &bits, sizeof bits);
  }
}

}  // namespace qwen_batch
