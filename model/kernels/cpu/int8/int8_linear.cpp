// y = x W^T with 8-bit weights and activations (int8_format.h); x and y are bfloat16.
//
// Weights are quantised once, when they are loaded (model/ops/int8.py). The rows of x are quantised here, in every
// call.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "check.h"
#include "int8_pack.h"
#include "int8_rows.h"
#include "int8_tiles.h"
#include "int8_vectors.h"
#include "product.h"
#include "rows.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace int8_linear_detail {
namespace {

using namespace int8;

constexpr int64_t MAX_ROWS_WITHOUT_TILES = 4;  // memory-bound: vectors read the weights as fast as tiles do
constexpr int64_t PANEL_BYTES = 1024 * 1024;   // bytes of rows per panel, which stays in the second-level cache

std::atomic<bool> tiles_enabled{true};

// Turns AMX tiles off, for tests: products then run as on a processor without AMX.
void int8_enable_tiles(bool enabled) { tiles_enabled = enabled; }

Target target_of(const Product& product, int64_t block) {
  const int64_t n = product.weight.n;
  return {.out = product.out + block * COLUMNS, .stride = n, .columns = n - block * COLUMNS};
}

const uint8_t* weights_of(const Product& product, const Rows& x, int64_t block) {
  return static_cast<const uint8_t*>(product.weight.data) + block * x.groups * GROUP_BYTES;
}

void multiply_on_tiles(const Product& product, const Rows& x, int64_t begin, int64_t end) {
#if QWEN_BATCH_HAS_AMX_INT8
  const int64_t panel = std::max<int64_t>(32, PANEL_BYTES / (x.groups * GROUP) / 32 * 32);
  const TileScope scope(std::min(x.count, TILE_ROWS));
  for (int64_t row = 0; row < x.count; row += panel)
    for (int64_t block = begin; block < end; ++block)
      tile_block(x, row, std::min(row + panel, x.count), weights_of(product, x, block), target_of(product, block),
                 block + 1 < end);
#endif
}

void multiply_by_vectors(const Product& product, const Rows& x, int64_t begin, int64_t end, Overlap* overlap) {
  for (int64_t block = begin; block < end; ++block)
    vector_block(x, weights_of(product, x, block), target_of(product, block), block + 1 < end, overlap);
}

// Rounds a weight [n, k] bfloat16 to groups [n, groups, 260], with the bits of `quantise_weight` in model/ops/int8.py.
Tensor int8_quantise(const Tensor& weight) {
  check(weight.dim() == 2 && weight.scalar_type() == ScalarType::BFloat16 && weight.is_contiguous(),
        "int8_quantise: the weight must be contiguous bfloat16 [n, k]");
  const int64_t n = weight.size(0), k = weight.size(1), groups = (k + GROUP - 1) / GROUP;
  Tensor plain = torch::stable::empty({n, groups, PLAIN_BYTES}, ScalarType::Byte);
  const auto* in = static_cast<const uint16_t*>(weight.const_data_ptr());
  auto* out = static_cast<uint8_t*>(plain.mutable_data_ptr());
  torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) quantise_plain(in + row * k, k, out + row * groups * PLAIN_BYTES);
  });
  return plain;
}

// Packs plain groups [n, groups, 260], in which each scale follows its values. Returns blocks [n / 32, groups, 130,
// 64], with missing columns filled with zeros.
Tensor int8_pack(const Tensor& plain) {
  check(plain.dim() == 3 && plain.scalar_type() == ScalarType::Byte && plain.is_contiguous() &&
            plain.size(2) == PLAIN_BYTES,
        "int8_pack: the weight must be contiguous bytes [n, groups, 260]");
  const int64_t n = plain.size(0), groups = plain.size(1), blocks = (n + COLUMNS - 1) / COLUMNS;
  Tensor packed = weight_memory({blocks, groups, GROUP_ROWS_OF_64, 16, QUAD}, ScalarType::Byte, 1);
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
}  // namespace int8_linear_detail

int64_t int8_scratch_bytes(int64_t rows, int64_t k) { return int8::QuantisedRows::bytes(rows, k); }

void int8_multiply(const Member& member, const Product& product, Overlap* overlap) {
  using namespace int8_linear_detail;
  QuantisedRows rows(product.scratch, product.rows, product.weight.k);
  for (int64_t row = member.begin(rows.padded()); row < member.end(rows.padded()); ++row) rows.quantise(product.x, row);
  member.wait();
  const int64_t blocks = (product.weight.n + COLUMNS - 1) / COLUMNS, begin = member.begin(blocks),
                end = member.end(blocks);
  if (QWEN_BATCH_HAS_AMX_INT8 && tiles_enabled && product.rows > MAX_ROWS_WITHOUT_TILES && amx_granted())
    multiply_on_tiles(product, rows.view(), begin, end);
  else multiply_by_vectors(product, rows.view(), begin, end, overlap);
}

bool int8_fits(const Tensor& packed, int64_t n, int64_t k) {
  using namespace int8_linear_detail;
  return packed.size(1) == (k + GROUP - 1) / GROUP && packed.size(0) == (n + COLUMNS - 1) / COLUMNS &&
         packed.size(2) == GROUP_ROWS_OF_64;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("int8_enable_tiles(bool enabled) -> ()");
  m.def("int8_quantise(Tensor weight) -> Tensor");
  m.def("int8_pack(Tensor plain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("int8_enable_tiles", TORCH_BOX(&qwen_batch::int8_linear_detail::int8_enable_tiles));
  m.impl("int8_quantise", TORCH_BOX(&qwen_batch::int8_linear_detail::int8_quantise));
  m.impl("int8_pack", TORCH_BOX(&qwen_batch::int8_linear_detail::int8_pack));
}
