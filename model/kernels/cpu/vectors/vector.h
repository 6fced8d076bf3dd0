// Vectors of 16 lanes. The kernels are written once, over these types and functions. Each kind of processor has a file
// that implements them: avx512.h, avx2.h (with FMA and F16C), neon.h (with dot products), and generic.h for all others.
//
//   Floats  16 lanes of float32. + - * / work lane by lane.
//   Words   16 lanes of 32 bits: integers, or pairs of bfloat16 values, the even one in the lower half.
//   Halves  16 lanes of 16 bits: bfloat16 values.
//   Mask    one bit per lane; bit 0 is the first lane.
//
// A vector has four quarters of 128 bits. The functions `unpack_…` work within each quarter, as the instructions of
// x86-64 do: `low` takes the lower half of each quarter of both arguments, and alternates between them.
//
// `SUM_VECTORS` is how many vectors of sums a product keeps in registers, beside what it multiplies.
#pragma once

#include <cstdint>

namespace qwen_batch {

constexpr int64_t LANES = 16;

using Mask = uint16_t;

}  // namespace qwen_batch

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define QWEN_BATCH_HAS_AVX512 1
#include "avx512.h"
#else
#define QWEN_BATCH_HAS_AVX512 0
#if defined(__AVX2__) && defined(__FMA__)
#include "avx2.h"
#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "neon.h"
#else
#include "generic.h"
#endif
#include "masked_halves.h"
#endif
