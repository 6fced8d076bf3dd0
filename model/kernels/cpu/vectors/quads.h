// Products of 8-bit values. A lane sums the products of four values along k, a quad, in exact integers. All kinds of
// processors compute the same integers.
//
//   Integers    16 lanes of sums.
//   RowInteger  one quantised value of a row, as the kernels hold it.
//
// Weights are unsigned: 128 is added to each. `first_sums` are sums from which the products with these 128, the offset
// of a row, are already subtracted.
//
// A processor multiplies a quad in QUAD_PARTS parts. AVX512-VNNI and AVX-VNNI have an instruction for a whole quad.
// So does ARM. Others multiply two pairs of 16 bits, or four single values. QUAD_ORDER is the order in which the four
// weights of a quad lie in memory, so that `part_of_weights` finds those of a part with one instruction.
#pragma once

#include <cstdint>
#include <utility>

#include "vector.h"

#if QWEN_BATCH_HAS_AVX512
#include "quads_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "quads_avx2.h"
#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "quads_neon.h"
#else
#include "quads_generic.h"
#endif

namespace qwen_batch {

// Adds one part of the products of `add_quads`.
template <int PART, int ROWS, int SIDES, typename QuadOf>
inline void add_quad_part(Integers (&sums)[ROWS][SIDES], const uint8_t* weights, int64_t side, const QuadOf& quad_of) {
  Words part[SIDES];
  for (int s = 0; s < SIDES; ++s) part[s] = part_of_weights<PART>(load_words(weights + s * side));
  for (int r = 0; r < ROWS; ++r) {
    const RowPart row = part_of_row<PART>(quad_of(r));
    for (int s = 0; s < SIDES; ++s) sums[r][s] = add_part(sums[r][s], part[s], row);
  }
}

// Adds the products of a quad of ROWS rows with quads of unsigned weights: 16 columns in each of SIDES vectors, which
// lie `side` bytes apart. `quad_of(r)`: the four values of row r. All parts of the weights do not fit into the
// registers next to the sums, so the parts follow one another.
template <int ROWS, int SIDES, typename QuadOf>
inline void add_quads(Integers (&sums)[ROWS][SIDES], const uint8_t* weights, int64_t side, const QuadOf& quad_of) {
  [&]<int... PART>(std::integer_sequence<int, PART...>) {
    (add_quad_part<PART>(sums, weights, side, quad_of), ...);
  }(std::make_integer_sequence<int, QUAD_PARTS>());
}

}  // namespace qwen_batch
