// Vectors in the common extensions of GCC and Clang (vector.h), for processors that have no file of their own. The
// compiler splits each vector into the registers of the processor.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace qwen_batch {

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Words __attribute__((vector_size(64)));
typedef uint32_t UnsignedWords __attribute__((vector_size(64)));
typedef int64_t WordPairs __attribute__((vector_size(64)));
typedef uint16_t HalfWords __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

constexpr int SUM_VECTORS = 6;  // 24 of 32 registers

inline Floats zeros() { return Floats{}; }
inline Floats splat(float value) { return value - Floats{}; }
inline Floats load(const float* from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}
inline void store(float* to, Floats values) { std::memcpy(to, &values, sizeof values); }

// Return a * b + c and a * b - c, rounded once if the processor has such an instruction.
inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return a * b - c; }

// Returns b where either is NaN.
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats magnitude(Floats a) { return (Floats)((Words)a & 0x7fffffff); }

// Numbers below 2^22 are rounded: the sum with 3 * 2^22 has no bits for fractions.
inline Floats nearest_integer(Floats a) { return a + 0x3p22f - 0x3p22f; }

// Returns a * 2^exponent, for whole exponents that are at most 0. Results below 2^-126 become zero.
inline Floats times_power_of_2(Floats a, Floats exponent) {
  const Words bounded = __builtin_convertvector(maximum(exponent, splat(-127.0f)), Words);
  return a * (Floats)((bounded + 127) << 23);
}

// `where`: a in the lanes of the mask, b in the others. `where_negative`: a in the lanes where `x` is below zero.
inline Floats where(Mask mask, Floats a, Floats b) {
  const Words bits = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return (bits & static_cast<int32_t>(mask)) != 0 ? a : b;
}
inline Floats where_negative(Floats x, Floats a, Floats b) { return x < 0.0f ? a : b; }

inline float sum_of_lanes(Floats a) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) a[i] += a[i + width];
  return a[0];
}
inline float max_of_lanes(Floats a) {
  float result = a[0];
  for (int i = 1; i < LANES; ++i) result = std::fmax(result, a[i]);
  return result;
}
inline float max_of_lanes(Mask mask, Floats a) { return max_of_lanes(where(mask, a, splat(-INFINITY))); }

inline Words splat_word(int32_t value) { return value - Words{}; }
inline Words load_words(const void* from) {
  Words words;
  std::memcpy(&words, from, sizeof words);
  return words;
}
inline void store_words(void* to, Words words) { std::memcpy(to, &words, sizeof words); }

// Whole numbers in float32.
inline Floats to_floats(Words a) { return __builtin_convertvector(a, Floats); }

// Integers, and 16 integers of 8 bits as integers. `nearest_words` rounds ties to even; |a| is below 2^22.
typedef int8_t Bytes __attribute__((vector_size(16)));
inline Words add(Words a, Words b) { return a + b; }
inline int32_t sum_of_lanes(Words a) {
  int32_t sum = 0;
  for (int i = 0; i < LANES; ++i) sum += a[i];
  return sum;
}
inline Words nearest_words(Floats a) { return __builtin_convertvector(nearest_integer(a), Words); }
inline Words load_narrow(const int8_t* from) {
  Bytes bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, Words);
}
inline void store_narrow(int8_t* to, Words a) {
  const Bytes bytes = __builtin_convertvector(a, Bytes);
  std::memcpy(to, &bytes, sizeof bytes);
}

// The values of bfloat16 pairs in float32.
inline Floats odd_values(Words pairs) { return (Floats)((UnsignedWords)pairs & 0xffff0000u); }
inline Floats even_values(Words pairs) { return (Floats)((UnsignedWords)pairs << 16); }

inline Halves load_halves(const uint16_t* from) {
  Halves values;
  std::memcpy(&values, from, sizeof values);
  return values;
}
inline void store_halves(uint16_t* to, Halves values) { std::memcpy(to, &values, sizeof values); }

inline Floats from_bfloat16(Halves values) { return (Floats)(__builtin_convertvector(values, UnsignedWords) << 16); }

// Rounds to nearest even. A NaN stays a NaN: its quiet bit is set, because without it the cut of the lower bits could
// leave an infinity.
inline Halves to_bfloat16(Floats values) {
  const UnsignedWords bits = (UnsignedWords)values, rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const UnsignedWords nan = (UnsignedWords)(values != values);
  return __builtin_convertvector(((bits | 0x400000u) & nan | rounded & ~nan) >> 16, Halves);
}

template <typename Vector>
inline Vector unpack_low_of_32(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}
template <typename Vector>
inline Vector unpack_high_of_32(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
template <typename Vector>
inline Vector unpack_low_of_64(Vector a, Vector b) {
  return (Vector)__builtin_shufflevector((WordPairs)a, (WordPairs)b, 0, 8, 2, 10, 4, 12, 6, 14);
}
template <typename Vector>
inline Vector unpack_high_of_64(Vector a, Vector b) {
  return (Vector)__builtin_shufflevector((WordPairs)a, (WordPairs)b, 1, 9, 3, 11, 5, 13, 7, 15);
}
inline Floats unpack_low(Floats a, Floats b) { return unpack_low_of_32(a, b); }
inline Floats unpack_high(Floats a, Floats b) { return unpack_high_of_32(a, b); }
inline Floats unpack_low_pairs(Floats a, Floats b) { return unpack_low_of_64(a, b); }
inline Floats unpack_high_pairs(Floats a, Floats b) { return unpack_high_of_64(a, b); }
inline Words unpack_low(Words a, Words b) { return unpack_low_of_32(a, b); }
inline Words unpack_high(Words a, Words b) { return unpack_high_of_32(a, b); }
inline Words unpack_low_pairs(Words a, Words b) { return unpack_low_of_64(a, b); }
inline Words unpack_high_pairs(Words a, Words b) { return unpack_high_of_64(a, b); }
inline Words unpack_low_halves(Words a, Words b) {
  return (Words)__builtin_shufflevector((HalfWords)a, (HalfWords)b, 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41, 10, 42,
                                        11, 43, 16, 48, 17, 49, 18, 50, 19, 51, 24, 56, 25, 57, 26, 58, 27, 59);
}
inline Words unpack_high_halves(Words a, Words b) {
  return (Words)__builtin_shufflevector((HalfWords)a, (HalfWords)b, 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13, 45, 14, 46,
                                        15, 47, 20, 52, 21, 53, 22, 54, 23, 55, 28, 60, 29, 61, 30, 62, 31, 63);
}
inline Halves unpack_low_quads(Halves a, Halves b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
}
inline Halves unpack_high_quads(Halves a, Halves b) {
  return __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
}

// Writes the 32 values of two vectors, half by half: the first half of a, the first half of b, the second half of a, …
inline void store_quarters(uint16_t* to, Halves a, Halves b) {
  store_halves(to, __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
  store_halves(to + LANES, __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
}

// Quarters 0 and 2 of a, then of b; and 1 and 3.
template <typename Vector>
inline Vector even_quarters(Vector a, Vector b) {
  return (Vector)__builtin_shufflevector((WordPairs)a, (WordPairs)b, 0, 1, 4, 5, 8, 9, 12, 13);
}
template <typename Vector>
inline Vector odd_quarters(Vector a, Vector b) {
  return (Vector)__builtin_shufflevector((WordPairs)a, (WordPairs)b, 2, 3, 6, 7, 10, 11, 14, 15);
}

// Quarters 0 and 1 of a, then of b; and 2 and 3.
inline Words first_quarters(Words a, Words b) {
  return (Words)__builtin_shufflevector((WordPairs)a, (WordPairs)b, 0, 1, 2, 3, 8, 9, 10, 11);
}
inline Words last_quarters(Words a, Words b) {
  return (Words)__builtin_shufflevector((WordPairs)a, (WordPairs)b, 4, 5, 6, 7, 12, 13, 14, 15);
}

// Interleave two vectors of 32 values of 16 bits (a0 b0 a1 b1 …): the lower 16 values of each, or the upper 16.
inline Words interleave_low(Words a, Words b) {
  return (Words)__builtin_shufflevector((HalfWords)a, (HalfWords)b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7,
                                        39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
}
inline Words interleave_high(Words a, Words b) {
  return (Words)__builtin_shufflevector((HalfWords)a, (HalfWords)b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22,
                                        54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
}

}  // namespace qwen_batch
