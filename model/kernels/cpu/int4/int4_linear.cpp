// y = x W^T with 4-bit weights and 8-bit activations (int4_format.h); x and y are bfloat16.
//
// Weights are quantised once, when they are loaded (model/ops/int4.py). The rows of x are quantised here, in every
// call.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "int4_pack.h"
#include "int4_rows.h"
#include "int4_vectors.h"
#include "product.h"
#include "quantised_weight.h"

using torch::stable::Tensor;

namespace qwen_batch {
namespace int4_linear_detail {
namespace {

using namespace int4;

const uint8_t* weights_of(const Product& product, int64_t groups, int64_t block) {
  return static_cast<const uint8_t*>(product.weight.data) + block * groups * GROUP_BYTES;
}

}  // namespace
}  // namespace int4_linear_detail

int64_t int4_scratch_bytes(int64_t rows, int64_t k) { return int4::Rows::bytes(rows, k); }

void int4_multiply(const Member& member, const Product& product, Overlap* overlap) {
  using namespace int4_linear_detail;
  Rows rows(product.scratch, product.rows, product.weight.k);
  for (int64_t piece = member.begin(rows.pieces()); piece < member.end(rows.pieces()); ++piece)
    rows.quantise(product.x, piece);
  member.wait();
  const int64_t groups = groups_of<Format>(product.weight.k), blocks = column_blocks(product.weight.n);
  for (int64_t block = member.begin(blocks), end = member.end(blocks); block < end; ++block)
    multiply_block(rows, groups, weights_of(product, groups, block), column_block(product, block), block + 1 < end,
                   overlap);
}

bool int4_fits(const Tensor& packed, int64_t n, int64_t k) { return is_packed_weight<int4::Format>(packed, n, k); }

bool is_int4(const Tensor& packed) { return packed.dim() == 5 && packed.size(2) == int4::GROUP_BYTES / 64; }

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("int4_quantise(Tensor weight) -> Tensor");
  m.def("int4_pack(Tensor plain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("int4_quantise", TORCH_BOX(&qwen_batch::quantise_weight<qwen_batch::int4::Format>));
  m.impl("int4_pack", TORCH_BOX(&qwen_batch::pack_weight<qwen_batch::int4::Format>));
}
