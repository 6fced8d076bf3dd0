// 16 values of 16 bits on x86-64 (vector.h): one register of 256 bits, with AVX2 and with AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace qwen_batch {

using Halves = __m256i;

inline Halves load_halves(const uint16_t* from) { return _mm256_loadu_si256((const __m256i*)from); }
inline void store_halves(uint16_t* to, Halves values) { _mm256_storeu_si256((__m256i*)to, values); }

inline Halves unpack_low_quads(Halves a, Halves b) { return _mm256_unpacklo_epi64(a, b); }
inline Halves unpack_high_quads(Halves a, Halves b) { return _mm256_unpackhi_epi64(a, b); }

// Writes the 32 values of two vectors, quarter by quarter: the first of a, the first of b, the second of a, …
inline void store_quarters(uint16_t* to, Halves a, Halves b) {
  auto* quarters = (__m128i*)to;
  _mm_storeu_si128(quarters, _mm256_castsi256_si128(a));
  _mm_storeu_si128(quarters + 1, _mm256_castsi256_si128(b));
  _mm_storeu_si128(quarters + 2, _mm256_extracti128_si256(a, 1));
  _mm_storeu_si128(quarters + 3, _mm256_extracti128_si256(b, 1));
}

}  // namespace qwen_batch
