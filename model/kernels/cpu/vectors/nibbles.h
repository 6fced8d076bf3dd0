// Products of 4-bit codes with 8-bit values. A lane sums the products of eight quads (quads.h) along k, in exact
// integers. All kinds of processors compute the same integers.
//
//   Codes       Words whose bytes are codes from 0 to 15: 16 lanes of a quad.
//   NibbleSums  16 lanes of sums.
//
// x86-64 without VNNI has an instruction that multiplies unsigned by signed bytes and adds pairs of products, in 16
// bits. With codes of 4 bits, the sums of eight quads fit: 8 * 2 * 15 * 127 < 2^15. (With weights of 8 bits not even
// two products fit, see quads_x86.h.)
#pragma once

#include <cstdint>
#include <cstring>

#include "quads.h"

namespace qwen_batch {

using Codes = Words;

#if QWEN_BATCH_HAS_AVX512

inline Codes lower_nibbles(Words bytes) { return _mm512_and_si512(bytes, splat_word(0x0f0f0f0f)); }
inline Codes upper_nibbles(Words bytes) { return lower_nibbles(_mm512_srli_epi16(bytes, 4)); }
inline Floats from_float16(const uint16_t* from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from)); }

#elif defined(__AVX2__) && defined(__FMA__)

inline Codes lower_nibbles(Words bytes) {
  const __m256i mask = _mm256_set1_epi32(0x0f0f0f0f);
  return {_mm256_and_si256(bytes.low, mask), _mm256_and_si256(bytes.high, mask)};
}
inline Codes upper_nibbles(Words bytes) {
  return lower_nibbles({_mm256_srli_epi16(bytes.low, 4), _mm256_srli_epi16(bytes.high, 4)});
}
inline Floats from_float16(const uint16_t* from) {
  const auto* halves = (const __m128i*)from;
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

inline Codes lower_nibbles(Words bytes) {
  return each<Words>([](int32x4_t x) { return vandq_s32(x, vdupq_n_s32(0x0f0f0f0f)); }, bytes);
}
inline Codes upper_nibbles(Words bytes) {
  const auto shifted = [](int32x4_t x) { return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(x), 4)); };
  return each<Words>(shifted, bytes);
}
inline Floats from_float16(const uint16_t* from) {
  const auto quarter = [from](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i))); };
  return {quarter(0), quarter(1), quarter(2), quarter(3)};
}

#else

inline Codes lower_nibbles(Words bytes) { return bytes & 0x0f0f0f0f; }
inline Codes upper_nibbles(Words bytes) { return (Words)((UnsignedWords)bytes >> 4) & 0x0f0f0f0f; }
inline Floats from_float16(const uint16_t* from) {
  Floats values;
  for (int lane = 0; lane < LANES; ++lane) {
    const uint32_t sign = static_cast<uint32_t>(from[lane] & 0x8000) << 16, rest = from[lane] & 0x7fff;
    const uint32_t bits = rest << 13;  // the exponent is too small by 112
    float value;
    std::memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    uint32_t magnitude;
    std::memcpy(&magnitude, &value, sizeof magnitude);
    magnitude |= sign;
    std::memcpy(&value, &magnitude, sizeof value);
    values[lane] = value;
  }
  return values;
}

#endif

#if defined(__x86_64__) && QWEN_BATCH_HAS_AVX512 && !QWEN_BATCH_HAS_VNNI

typedef int16_t NibbleSums __attribute__((vector_size(64)));  // see quads_avx512.h

inline NibbleSums no_nibble_sums() { return NibbleSums{}; }
inline NibbleSums add_nibbles(NibbleSums sums, Codes codes, const int8_t* quad) {
  int32_t values;
  std::memcpy(&values, quad, sizeof values);
  sums += (NibbleSums)_mm512_maddubs_epi16(codes, splat_word(values));
  asm("" : "+v"(sums));
  return sums;
}
inline Floats to_floats(NibbleSums sums) { return to_floats(_mm512_madd_epi16((__m512i)sums, _mm512_set1_epi16(1))); }

#elif defined(__AVX2__) && defined(__FMA__) && !QWEN_BATCH_HAS_VNNI

typedef int16_t SixteenShorts __attribute__((vector_size(32)));
struct NibbleSums {
  SixteenShorts low, high;
};

inline NibbleSums no_nibble_sums() { return {SixteenShorts{}, SixteenShorts{}}; }
inline NibbleSums add_nibbles(NibbleSums sums, Codes codes, const int8_t* quad) {
  int32_t values;
  std::memcpy(&values, quad, sizeof values);
  const __m256i row = _mm256_set1_epi32(values);
  sums.low += (SixteenShorts)_mm256_maddubs_epi16(codes.low, row);
  sums.high += (SixteenShorts)_mm256_maddubs_epi16(codes.high, row);
  asm("" : "+x"(sums.low), "+x"(sums.high));  // see quads_avx2.h
  return sums;
}
inline Floats to_floats(NibbleSums sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  return to_floats(Words{_mm256_madd_epi16((__m256i)sums.low, ones), _mm256_madd_epi16((__m256i)sums.high, ones)});
}

#elif defined(__x86_64__) && (QWEN_BATCH_HAS_AVX512 || defined(__AVX2__) && defined(__FMA__)) || \
    defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

// One instruction multiplies a quad. Codes may count as signed or as unsigned bytes.
using NibbleSums = Integers;

inline NibbleSums no_nibble_sums() { return splat_integer(0); }
inline NibbleSums add_nibbles(NibbleSums sums, Codes codes, const int8_t* quad) {
  return add_part(sums, codes, part_of_row<0>(quad));
}

#else

using NibbleSums = Integers;

inline NibbleSums no_nibble_sums() { return splat_integer(0); }
inline NibbleSums add_nibbles(NibbleSums sums, Codes codes, const int8_t* quad) {
  return [&]<int... PART>(std::integer_sequence<int, PART...>) {
    ((sums = add_part(sums, part_of_weights<PART>(codes), part_of_row<PART>(quad))), ...);
    return sums;
  }(std::make_integer_sequence<int, QUAD_PARTS>());
}

#endif

}  // namespace qwen_batch
