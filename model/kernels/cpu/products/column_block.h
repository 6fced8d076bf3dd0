// Where a block of columns of a product with 4-bit or 8-bit weights goes.
#pragma once

#include <cstdint>

#include "vector_math.h"

namespace qwen_batch {

constexpr int64_t COLUMNS = 32;  // columns per block of weights

struct ColumnBlock {
  uint16_t* out;  // the block's first column in row 0
  int64_t stride;
  int64_t columns;  // number of columns that exist, from here to the last one

  // Stores a row's sums [COLUMNS] as bfloat16.
  void store(int64_t row, const float* sums) const {
    for (int64_t c = 0; c < COLUMNS && c < columns; c += 16)
      store_halves(first_lanes(columns - c), out + row * stride + c, to_bfloat16(load(sums + c)));
  }
};

}  // namespace qwen_batch
