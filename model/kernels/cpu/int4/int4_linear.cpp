// y = x W^T with 4-bit weights and 8-bit activations (int4_format.h); x and y are bfloat16.
//
// Weights are quantised once, when they are loaded (model/ops/int4.py). The rows of x are quantised here, in every
// call.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "int4_pack.h"
#include "int4_rows.h"
#include "int4_vectors.h"
#include "product.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace int4_linear_detail {
namespace {

using namespace int4;

// Rounds a weight [n, k] bfloat16 to groups [n, groups, 20], with the bits of `quantise_weight` in model/ops/int4.py.
Tensor int4_quantise(const Tensor& weight) {
  check(weight.dim() == 2 && weight.scalar_type() == ScalarType::BFloat16 && weight.is_contiguous(),
        "int4_quantise: the weight must be contiguous bfloat16 [n, k]");
  const int64_t n = weight.size(0), k = weight.size(1), groups = groups_of(k);
  Tensor plain = torch::stable::empty({n, groups, PLAIN_BYTES}, ScalarType::Byte);
  const auto* in = static_cast<const uint16_t*>(weight.const_data_ptr());
  auto* out = static_cast<uint8_t*>(plain.mutable_data_ptr());
  torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) quantise_plain(in + row * k, k, out + row * groups * PLAIN_BYTES);
  });
  return plain;
}

// Packs plain groups [n, groups, 20], in which scale and minimum follow the codes. Returns blocks [n / 32, groups, 10,
// 16, 4], with missing columns filled with zeros.
Tensor int4_pack(const Tensor& plain) {
  check(plain.dim() == 3 && plain.scalar_type() == ScalarType::Byte && plain.is_contiguous() &&
            plain.size(2) == PLAIN_BYTES,
        "int4_pack: the weight must be contiguous bytes [n, groups, 20]");
  const int64_t n = plain.size(0), groups = plain.size(1), blocks = (n + COLUMNS - 1) / COLUMNS;
  Tensor packed = weight_memory({blocks, groups, GROUP_LINES, 16, QUAD}, ScalarType::Byte, 1);
  const auto* in = static_cast<const uint8_t*>(plain.const_data_ptr());
  auto* out = static_cast<uint8_t*>(packed.mutable_data_ptr());
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      pack_block(in + block * COLUMNS * groups * PLAIN_BYTES, std::min(COLUMNS, n - block * COLUMNS), groups,
                 out + block * groups * GROUP_BYTES);
  });
  return packed;
}

}  // namespace
}  // namespace int4_linear_detail

int64_t int4_scratch_bytes(int64_t rows, int64_t k) { return int4::Rows::bytes(rows, k); }

void int4_multiply(const Member& member, const Product& product, Overlap* overlap) {
  using namespace int4_linear_detail;
  Rows rows(product.scratch, product.rows, product.weight.k);
  for (int64_t row = member.begin(rows.padded()); row < member.end(rows.padded()); ++row) rows.quantise(product.x, row);
  member.wait();
  const int64_t n = product.weight.n, groups = groups_of(product.weight.k), blocks = (n + COLUMNS - 1) / COLUMNS;
  for (int64_t block = member.begin(blocks), end = member.end(blocks); block < end; ++block) {
    const Target target{.out = product.out + block * COLUMNS, .stride = n, .columns = n - block * COLUMNS};
    multiply_block(rows, groups, static_cast<const uint8_t*>(product.weight.data) + block * groups * GROUP_BYTES,
                   target, block + 1 < end, overlap);
  }
}

bool int4_fits(const Tensor& packed, int64_t n, int64_t k) {
  using namespace int4_linear_detail;
  return packed.size(1) == groups_of(k) && packed.size(0) == (n + COLUMNS - 1) / COLUMNS;
}

bool is_int4(const Tensor& packed) { return packed.dim() == 5 && packed.size(2) == int4::GROUP_LINES; }

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("int4_quantise(Tensor weight) -> Tensor");
  m.def("int4_pack(Tensor plain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("int4_quantise", TORCH_BOX(&qwen_batch::int4_linear_detail::int4_quantise));
  m.impl("int4_pack", TORCH_BOX(&qwen_batch::int4_linear_detail::int4_pack));
}
