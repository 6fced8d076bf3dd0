// y = x W^T with 8-bit weights and activations (int8_format.h); x and y are bfloat16.
//
// Weights are quantised once, when they are loaded (model/ops/int8.py). The rows of x are quantised here, in every
// call.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "int8_pack.h"
#include "int8_rows.h"
#include "int8_tiles.h"
#include "int8_vectors.h"
#include "product.h"
#include "quantised_weight.h"

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

const uint8_t* weights_of(const Product& product, const Rows& x, int64_t block) {
  return static_cast<const uint8_t*>(product.weight.data) + block * x.groups * GROUP_BYTES;
}

void multiply_on_tiles(const Product& product, const Rows& x, int64_t begin, int64_t end) {
#if QWEN_BATCH_HAS_AMX_INT8
  const int64_t panel = std::max<int64_t>(32, PANEL_BYTES / (x.groups * GROUP) / 32 * 32);
  const TileScope scope(std::min(x.count, TILE_ROWS));
  for (int64_t row = 0; row < x.count; row += panel)
    for (int64_t block = begin; block < end; ++block)
      tile_block(x, row, std::min(row + panel, x.count), weights_of(product, x, block), column_block(product, block),
                 block + 1 < end);
#endif
}

void multiply_by_vectors(const Product& product, const Rows& x, int64_t begin, int64_t end, Overlap* overlap) {
  for (int64_t block = begin; block < end; ++block)
    vector_block(x, weights_of(product, x, block), column_block(product, block), block + 1 < end, overlap);
}

}  // namespace
}  // namespace int8_linear_detail

int64_t int8_scratch_bytes(int64_t rows, int64_t k) { return int8::QuantisedRows::bytes(rows, k); }

void int8_multiply(const Member& member, const Product& product, Overlap* overlap) {
  using namespace int8_linear_detail;
  QuantisedRows rows(product.scratch, product.rows, product.weight.k);
  const bool on_tiles =
      QWEN_BATCH_HAS_AMX_INT8 && tiles_enabled && product.rows > MAX_ROWS_WITHOUT_TILES && amx_granted();
  const int64_t pieces = rows.pieces(on_tiles);
  for (int64_t piece = member.begin(pieces); piece < member.end(pieces); ++piece) rows.quantise(product.x, piece);
  member.wait();
  const int64_t blocks = column_blocks(product.weight.n), begin = member.begin(blocks), end = member.end(blocks);
  if (on_tiles) multiply_on_tiles(product, rows.view(), begin, end);
  else multiply_by_vectors(product, rows.view(), begin, end, overlap);
}

bool int8_fits(const Tensor& packed, int64_t n, int64_t k) { return is_packed_weight<int8::Format>(packed, n, k); }

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("int8_enable_tiles(bool enabled) -> ()");
  m.def("int8_quantise(Tensor weight) -> Tensor");
  m.def("int8_pack(Tensor plain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("int8_enable_tiles", TORCH_BOX(&qwen_batch::int8_linear_detail::int8_enable_tiles));
  m.impl("int8_quantise", TORCH_BOX(&qwen_batch::quantise_weight<qwen_batch::int8::Format>));
  m.impl("int8_pack", TORCH_BOX(&qwen_batch::pack_weight<qwen_batch::int8::Format>));
}
