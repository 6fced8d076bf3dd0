// Rounds whole weights to 4 or 8 bits and packs them, on all threads. `Format` is int4::Format or int8::Format:
//
//   VALUES, PLAIN_BYTES   values of a group, and its bytes in the form of model/ops
//   PACKED_BYTES          bytes of a group of a block of columns, in the form of the kernels
//   round_row, pack_block functions for a row of a weight, and for a block
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "column_block.h"
#include "product.h"
#include "weight_memory.h"

namespace qwen_batch {

template <typename Format>
int64_t groups_of(int64_t k) {
  return (k + Format::VALUES - 1) / Format::VALUES;
}
inline int64_t column_blocks(int64_t n) { return (n + COLUMNS - 1) / COLUMNS; }

// Where a block of the product's columns goes.
inline ColumnBlock column_block(const Product& product, int64_t block) {
  const int64_t n = product.weight.n;
  return {.out = product.out + block * COLUMNS, .stride = n, .columns = n - block * COLUMNS};
}

// Rounds a weight [n, k] bfloat16 to groups [n, groups, PLAIN_BYTES], with the bits of `quantise_weight` in model/ops.
template <typename Format>
torch::stable::Tensor quantise_weight(const torch::stable::Tensor& weight) {
  check(weight.dim() == 2 && weight.scalar_type() == torch::headeronly::ScalarType::BFloat16 && weight.is_contiguous(),
        "quantise: the weight must be contiguous bfloat16 [n, k]");
  const int64_t n = weight.size(0), k = weight.size(1), row_bytes = groups_of<Format>(k) * Format::PLAIN_BYTES;
  torch::stable::Tensor plain =
      torch::stable::empty({n, groups_of<Format>(k), Format::PLAIN_BYTES}, torch::headeronly::ScalarType::Byte);
  const auto* in = static_cast<const uint16_t*>(weight.const_data_ptr());
  auto* out = static_cast<uint8_t*>(plain.mutable_data_ptr());
  torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) Format::round_row(in + row * k, k, out + row * row_bytes);
  });
  return plain;
}

// Packs plain groups [n, groups, PLAIN_BYTES]. Returns blocks [n / 32, groups, PACKED_BYTES / 64, 16, 4], with missing
// columns filled with zeros.
template <typename Format>
torch::stable::Tensor pack_weight(const torch::stable::Tensor& plain) {
  check(plain.dim() == 3 && plain.scalar_type() == torch::headeronly::ScalarType::Byte && plain.is_contiguous() &&
            plain.size(2) == Format::PLAIN_BYTES,
        "pack: the weight must be contiguous bytes [n, groups, bytes of a group]");
  const int64_t n = plain.size(0), groups = plain.size(1);
  torch::stable::Tensor packed = weight_memory({column_blocks(n), groups, Format::PACKED_BYTES / 64, 16, 4},
                                               torch::headeronly::ScalarType::Byte, 1);
  const auto* in = static_cast<const uint8_t*>(plain.const_data_ptr());
  auto* out = static_cast<uint8_t*>(packed.mutable_data_ptr());
  torch::stable::parallel_for(0, column_blocks(n), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      Format::pack_block(in + block * COLUMNS * groups * Format::PLAIN_BYTES, std::min(COLUMNS, n - block * COLUMNS),
                         groups, out + block * groups * Format::PACKED_BYTES);
  });
  return packed;
}

// Returns whether a packed weight [n, k] has this format.
template <typename Format>
bool is_packed_weight(const torch::stable::Tensor& packed, int64_t n, int64_t k) {
  return packed.size(0) == column_blocks(n) && packed.size(1) == groups_of<Format>(k) &&
         packed.size(2) == Format::PACKED_BYTES / 64;
}

}  // namespace qwen_batch
