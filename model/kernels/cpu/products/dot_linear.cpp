// y = x W^T in bfloat16 by dot products of pairs (bfloat16_dot.h), with float32 sums, on every processor.
//
// Every output element is one chain of dot products over k = 0, 2, 4, …, whatever the number of rows. A row's bits
// therefore depend on that row alone.
//
// Packed weight: [n / 64][k / 2][64 columns][2]. A block of 64 columns is one contiguous stream. It is read from memory
// once per call; with many rows, several threads read the last blocks. While a block is multiplied, the next block is
// prefetched into the second-level cache. One or two rows use a block as fast as it arrives. For them the hardware
// prefetcher alone, in huge pages, is faster.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "dot_panels.h"
#include "product.h"
#include "product_rows.h"
#include "rows.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace dot_linear_detail {
namespace {

using namespace dot;

constexpr int64_t NONE = -1;  // no block

int64_t blocks_of(int64_t n) { return (n + DOT_COLUMNS - 1) / DOT_COLUMNS; }

// Multiplies a piece with one block. `next`: the block to prefetch meanwhile, or NONE.
void column_block(const Product& product, int64_t block, const Piece& piece, int64_t next, Overlap* overlap) {
  const int64_t k = product.weight.k, values = k * DOT_COLUMNS, bytes = values * static_cast<int64_t>(sizeof(uint16_t));
  const int64_t count = piece.end - piece.begin, share = bytes * count / product.rows;
  const int64_t steps = passes_of(count) * ((k / 2 + PAIRS_PER_STEP - 1) / PAIRS_PER_STEP);
  const auto* w = static_cast<const uint16_t*>(product.weight.data);
  Prefetcher prefetcher(next == NONE ? nullptr : w + next * values, bytes, steps, overlap, share);
  const ProductRows rows(product);
  const Block of_weight{.weights = w + block * values, .k = k, .columns = product.weight.n - block * DOT_COLUMNS};
#if QWEN_BATCH_HAS_BFLOAT16_DOTS
  multiply_passes(rows, of_weight, piece, prefetcher);
#else
  if (count >= MIN_PANEL_ROWS && panels_enabled) multiply_panels(rows, of_weight, piece, prefetcher);
  else multiply_passes(rows, of_weight, piece, prefetcher);
#endif
  if (overlap != nullptr) overlap->multiplied(share);
}

// The blocks of a product, grouped into units. A unit is one block, or in a gated product a block of gates and the
// block of values that the gates multiply.
class Units {
 public:
  explicit Units(const Product& product)
      : product_(product), gated_(dot_gates(product)), blocks_(blocks_of(product.weight.n)) {}

  int64_t count() const { return gated_ ? blocks_ / 2 : blocks_; }

  // Multiplies at most PIECE_ROWS rows with a unit. `next`: the unit to prefetch meanwhile, or NONE.
  void multiply(int64_t unit, int64_t begin, int64_t end, int64_t next, Overlap* overlap) const {
    const int64_t n = product_.weight.n;
    if (!gated_)
      return column_block(
          product_, unit,
          {.begin = begin, .end = end, .out = product_.out + begin * n + unit * DOT_COLUMNS, .stride = n}, next,
          overlap);
    alignas(64) uint16_t both[PIECE_ROWS * 2 * DOT_COLUMNS];
    const Piece gates{.begin = begin, .end = end, .out = both, .stride = 2 * DOT_COLUMNS};
    const Piece values{.begin = begin, .end = end, .out = both + DOT_COLUMNS, .stride = 2 * DOT_COLUMNS};
    column_block(product_, unit, gates, next == NONE ? NONE : unit + blocks_ / 2, overlap);
    column_block(product_, unit + blocks_ / 2, values, next, overlap);
    for (int64_t row = begin; row < end; ++row) {
      const uint16_t* gate = both + (row - begin) * 2 * DOT_COLUMNS;
      swiglu_row(gate, gate + DOT_COLUMNS, product_.gated + row * (n / 2) + unit * DOT_COLUMNS, DOT_COLUMNS);
    }
  }

 private:
  const Product& product_;
  const bool gated_;
  const int64_t blocks_;
};

// Multiplies all rows with adjacent units, which are read as one stream.
void multiply_stream(const Product& product, const Units& units, int64_t begin, int64_t end, Overlap* overlap) {
  for (int64_t unit = begin; unit < end; ++unit)
    for (int64_t row = 0; row < product.rows; row += PIECE_ROWS) {
      const bool fetches = product.rows > 2 && row == 0 && unit + 1 < end;
      units.multiply(unit, row, std::min(row + PIECE_ROWS, product.rows), fetches ? unit + 1 : NONE, overlap);
    }
}

// Multiplies pieces of the units from `begin` on; each member takes the next piece when it is free.
void multiply_pieces(const Member& member, const Product& product, const Units& units, int64_t begin) {
  const int64_t pieces = (product.rows + PIECE_ROWS - 1) / PIECE_ROWS, count = (units.count() - begin) * pieces;
  for (int64_t taken = member.team.take(); taken < count; taken = member.team.take()) {
    const int64_t row = taken % pieces * PIECE_ROWS;
    units.multiply(begin + taken / pieces, row, std::min(row + PIECE_ROWS, product.rows), NONE, nullptr);
  }
}

// Turns panels on or off, for tests and measurements. Returns whether they were on. Their bits are those of passes.
bool dot_enable_panels([[maybe_unused]] bool enabled) {
#if QWEN_BATCH_HAS_BFLOAT16_DOTS
  return false;
#else
  return panels_enabled.exchange(enabled);
#endif
}

// Packs w [n, k] bfloat16, where k is even. n is padded with zeros to a multiple of 64.
Tensor dot_pack(const Tensor& w) {
  check(w.dim() == 2 && w.scalar_type() == ScalarType::BFloat16 && w.is_contiguous(),
        "dot_pack: w must be a contiguous bfloat16 matrix");
  const int64_t n = w.size(0), k = w.size(1), blocks = blocks_of(n);
  check(k % 2 == 0, "dot_pack: the inner size must be even");
  Tensor packed = weight_memory({blocks, k / 2, DOT_COLUMNS, 2}, ScalarType::BFloat16, sizeof(uint16_t));
  const auto* in = static_cast<const uint16_t*>(w.const_data_ptr());
  auto* out = static_cast<uint16_t*>(packed.mutable_data_ptr());
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      for (int64_t column = 0; column < DOT_COLUMNS; ++column) {
        const int64_t row = block * DOT_COLUMNS + column;
        for (int64_t p = 0; p < k / 2; ++p)
          for (int64_t odd = 0; odd < 2; ++odd)
            out[block * DOT_COLUMNS * k + p * PAIR + column * 2 + odd] = row < n ? in[row * k + 2 * p + odd] : 0;
      }
  });
  return packed;
}

}  // namespace
}  // namespace dot_linear_detail

void dot_multiply(const Member& member, const Product& product, Overlap* overlap) {
  using namespace dot_linear_detail;
  ProductRows(product).widen(member);
  const Units units(product);
  if (product.rows <= PIECE_ROWS)
    return multiply_stream(product, units, member.begin(units.count()), member.end(units.count()), overlap);
  // The last unit of each share is open to all members, so that nobody waits long for a delayed thread.
  const int64_t parts = member.team.parts(), own = std::max<int64_t>(0, units.count() / parts - 1);
  multiply_stream(product, units, own * member.first, own * member.last, overlap);
  multiply_pieces(member, product, units, own * parts);
}

int64_t dot_scratch_bytes(int64_t rows, int64_t k) { return ProductRows::bytes(rows, k); }

bool dot_gates(const Product& product) { return product.gated != nullptr && product.weight.n / 2 % DOT_COLUMNS == 0; }

bool dot_fits(const Tensor& packed, int64_t n, int64_t k) {
  using namespace dot_linear_detail;
  return packed.size(1) * 2 == k && packed.size(0) == blocks_of(n);
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("dot_pack(Tensor w) -> Tensor");
  m.def("dot_enable_panels(bool enabled) -> bool");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("dot_pack", TORCH_BOX(&qwen_batch::dot_linear_detail::dot_pack));
  m.impl("dot_enable_panels", TORCH_BOX(&qwen_batch::dot_linear_detail::dot_enable_panels));
}
