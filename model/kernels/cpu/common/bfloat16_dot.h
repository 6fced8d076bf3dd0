// Dot products of bfloat16 pairs, and rounding to bfloat16, on 16 lanes.
//
// AVX512-BF16 has an instruction for each. Other processors with AVX-512 widen to float32 and use two multiply-adds, in the
// order in which the instruction adds: the odd values of a pair first.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace qwen_batch {

// Two bfloat16 values that lie side by side, as one number of 32 bits.
inline int32_t pair_at(const uint16_t* values) {
  int32_t pair;
  std::memcpy(&pair, values, sizeof pair);
  return pair;
}

#if defined(__AVX512BF16__)

// sum + a[2i] * b[2i] + a[2i + 1] * b[2i + 1] in each lane i.
inline __m512 add_dots(__m512 sum, __m512i a, __m512i b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }

// To nearest even.
inline __m256i to_bfloat16(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }

#else

inline __m512 odd_values(__m512i pairs) { return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000))); }
inline __m512 even_values(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }

inline __m512 add_dots(__m512 sum, __m512i a, __m512i b) {
  sum = _mm512_fmadd_ps(odd_values(a), odd_values(b), sum);
  return _mm512_fmadd_ps(even_values(a), even_values(b), sum);
}

// To nearest even. A NaN stays one: its quiet bit is set, so that cutting its lower bits off cannot make it infinite.
inline __m256i to_bfloat16(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values), one = _mm512_set1_epi32(1);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), last);
  const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

#endif

// Adds ROWS rows times COLUMNS registers of columns for one pair of the summed axis: `sums[r][c]` gets the dot product of
// `pair_of(r)` and register c of `columns`, which lie side by side.
template <int ROWS, int COLUMNS, typename PairOf>
inline void add_outer(__m512 (&sums)[ROWS][COLUMNS], const uint16_t* columns, const PairOf& pair_of) {
#if defined(__AVX512BF16__)
  __m512i loaded[COLUMNS];
  for (int c = 0; c < COLUMNS; ++c) loaded[c] = _mm512_loadu_si512(columns + c * 32);
  for (int r = 0; r < ROWS; ++r) {
    const __m512i both = _mm512_set1_epi32(pair_of(r));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = add_dots(sums[r][c], loaded[c], both);
  }
#else
  // One half after the other: both halves of all columns would not fit into the registers beside the sums.
  __m512 half[COLUMNS];
  for (int c = 0; c < COLUMNS; ++c) half[c] = odd_values(_mm512_loadu_si512(columns + c * 32));
  for (int r = 0; r < ROWS; ++r) {
    const __m512 value = odd_values(_mm512_set1_epi32(pair_of(r)));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = _mm512_fmadd_ps(half[c], value, sums[r][c]);
  }
  for (int c = 0; c < COLUMNS; ++c) half[c] = even_values(_mm512_loadu_si512(columns + c * 32));
  for (int r = 0; r < ROWS; ++r) {
    const __m512 value = even_values(_mm512_set1_epi32(pair_of(r)));
    for (int c = 0; c < COLUMNS; ++c) sums[r][c] = _mm512_fmadd_ps(half[c], value, sums[r][c]);
  }
#endif
}

}  // namespace qwen_batch
