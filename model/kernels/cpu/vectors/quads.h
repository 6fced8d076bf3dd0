// Products of 8-bit values. A lane sums the products of four values along k, a quad, in exact integers.
//
//   Integers     16 lanes of sums.
//   WeightQuads  16 quads of unsigned weights, one per column, ready for `add_quads`.
//   RowQuad      one quad of signed values of a row.
//
// All kinds of processors compute the same integers. AVX512-VNNI and AVX-VNNI have an instruction for `add_quads`.
#pragma once

#include "vector.h"

#if QWEN_BATCH_HAS_AVX512
#include "quads_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "quads_avx2.h"
#else
#include "quads_generic.h"
#endif
