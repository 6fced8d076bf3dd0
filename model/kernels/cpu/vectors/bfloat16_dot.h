// Dot products of bfloat16 pairs on 16 lanes.
//
// AVX512-BF16 and ARM with BF16 have an instruction for this. Other processors widen to float32 and use two
// multiply-adds. Their order is that of AVX512-BF16: the odd values of a pair come first. ARM's instruction rounds in
// another way.
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

#if defined(__AVX512BF16__) && QWEN_BATCH_HAS_AVX512
#define QWEN_BATCH_HAS_BFLOAT16_DOTS 1
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && defined(__ARM_FEATURE_DOTPROD)
#define QWEN_BATCH_HAS_BFLOAT16_DOTS 1
#else
#define QWEN_BATCH_HAS_BFLOAT16_DOTS 0
#endif

namespace qwen_batch {

// A value of the rows that the kernels multiply with weights, keys or values. Without an instruction for bfloat16 the
// kernels widen each value once, in advance.
#if QWEN_BATCH_HAS_BFLOAT16_DOTS
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
#if QWEN_BATCH_HAS_BFLOAT16_DOTS && QWEN_BATCH_HAS_AVX512
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#elif QWEN_BATCH_HAS_BFLOAT16_DOTS
  const auto added = [](float32x4_t to, int32x4_t x, int32x4_t y) {
    return vbfdotq_f32(to, vreinterpretq_bf16_s32(x), vreinterpretq_bf16_s32(y));
  };
  return each<Floats>(added, sum, a, b);
#else
  sum = multiply_add(odd_values(a), odd_values(b), sum);
  return multiply_add(even_values(a), even_values(b), sum);
#endif
}

// Sums of 32 values.
struct SumPair {
  Floats first, second;
};

// Pairs that are multiplied many times: as they are, or widened in advance.
#if QWEN_BATCH_HAS_BFLOAT16_DOTS
using KeptPairs = Words;
inline KeptPairs kept(Words pairs) { return pairs; }
inline KeptPairs kept_pair(const uint16_t* pair) { return splat_word(pair_at(pair)); }

// Adds two rows of 32 values to sums[g][first] and sums[g][first + 1], weighted by a pair for each g. The sums are out
// of order: `in_order` returns them with values 0 to 3 of eight in each quarter of the first and 4 to 7 in the second.
template <int GROUP, int VECTORS>
inline void add_two_rows(Floats (&sums)[GROUP][VECTORS], int first, const KeptPairs (&weights)[GROUP], Words even_row,
                         Words odd_row) {
  const Words low = unpack_low_halves(even_row, odd_row), high = unpack_high_halves(even_row, odd_row);
  for (int g = 0; g < GROUP; ++g) {
    sums[g][first] = add_dots(sums[g][first], weights[g], low);
    sums[g][first + 1] = add_dots(sums[g][first + 1], weights[g], high);
  }
}
inline SumPair in_order(Floats first, Floats second) { return {first, second}; }
#else
struct KeptPairs {
  Floats odd, even;
};
inline KeptPairs kept(Words pairs) { return {odd_values(pairs), even_values(pairs)}; }
inline KeptPairs kept_pair(const float* pair) { return {splat(pair[1]), splat(pair[0])}; }
inline Floats add_dots(Floats sum, KeptPairs a, Words b) {
  return multiply_add(a.even, even_values(b), multiply_add(a.odd, odd_values(b), sum));
}

// Here the first vector of sums holds the even of the 32 values, and the second one the odd. The rows follow one
// another, so that few registers are needed beside the sums.
template <int GROUP, int VECTORS>
inline void add_two_rows(Floats (&sums)[GROUP][VECTORS], int first, const KeptPairs (&weights)[GROUP], Words even_row,
                         Words odd_row) {
  Floats values = even_values(odd_row);
  for (int g = 0; g < GROUP; ++g) sums[g][first] = multiply_add(weights[g].odd, values, sums[g][first]);
  values = odd_values(odd_row);
  for (int g = 0; g < GROUP; ++g) sums[g][first + 1] = multiply_add(weights[g].odd, values, sums[g][first + 1]);
  values = even_values(even_row);
  for (int g = 0; g < GROUP; ++g) sums[g][first] = multiply_add(weights[g].even, values, sums[g][first]);
  values = odd_values(even_row);
  for (int g = 0; g < GROUP; ++g) sums[g][first + 1] = multiply_add(weights[g].even, values, sums[g][first + 1]);
}
inline SumPair in_order(Floats first, Floats second) { return {unpack_low(first, second), unpack_high(first, second)}; }
#endif

#if !QWEN_BATCH_HAS_BFLOAT16_DOTS
// The odd or even values of vector `c` of columns in float32: of pairs in bfloat16, or of pairs that are widened in
// advance. The even values of the latter lie behind the odd ones of all `columns` vectors.
inline Floats odd_column(const uint16_t* pairs, int c, int) { return odd_values(load_words(pairs + c * 32)); }
inline Floats even_column(const uint16_t* pairs, int c, int) { return even_values(load_words(pairs + c * 32)); }
inline Floats odd_column(const float* widened, int c, int) { return load(widened + c * LANES); }
inline Floats even_column(const float* widened, int c, int columns) { return load(widened + (columns + c) * LANES); }
#endif

// Adds the products of ROWS rows and COLUMNS vectors of columns, for one pair of the summed axis. `sums[r][c]` gets the
// dot product of the pair at `pair_of(r)` and vector c of `columns`. The vectors lie side by side in `columns`, in
// bfloat16. Without an instruction for bfloat16 they may also be widened, as `odd_column` reads them.
template <int ROWS, int COLUMNS, typename Value, typename PairOf>
inline void add_outer(Floats (&sums)[ROWS][COLUMNS], const Value* columns, const PairOf& pair_of) {
#if QWEN_BATCH_HAS_BFLOAT16_DOTS
  Words loaded[COLUMNS];
  for (int c = 0; c < COLUMNS; ++c) loaded[c] = load_words(columns + c * 32);
  for (int r = 0; r < ROWS; ++r) {
    const Words both = splat_word(pair_at(pair_of(r)));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = add_dots(sums[r][c], loaded[c], both);
  }
#else
  // First the odd, then the even values: both halves of all columns do not fit into the registers next to the sums.
  Floats half[COLUMNS];
  for (int c = 0; c < COLUMNS; ++c) half[c] = odd_column(columns, c, COLUMNS);
  for (int r = 0; r < ROWS; ++r) {
    const Floats value = splat(pair_of(r)[1]);
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = multiply_add(half[c], value, sums[r][c]);
  }
  for (int c = 0; c < COLUMNS; ++c) half[c] = even_column(columns, c, COLUMNS);
  for (int r = 0; r < ROWS; ++r) {
    const Floats value = splat(pair_of(r)[0]);
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
