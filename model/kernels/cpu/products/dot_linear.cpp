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
#include "prefetcher.h"
#include "product.h"
#include "rows.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace dot_linear_detail {
namespace {

constexpr int STRIPS = DOT_COLUMNS / LANES;    // vectors of columns per block
constexpr int MAX_ROWS = 6;                    // rows per pass
constexpr int64_t PAIR = DOT_COLUMNS * 2;      // bfloat16 values of a block per pair of k
constexpr int64_t NONE = -1;                   // no block
constexpr int64_t PAIRS_PER_STEP = 4;          // pairs of k between prefetches
constexpr int64_t PIECE_ROWS = 20 * MAX_ROWS;  // rows per piece of a block: tenths of a millisecond of work

int64_t blocks_of(int64_t n) { return (n + DOT_COLUMNS - 1) / DOT_COLUMNS; }

// Multiplies ROWS rows with WIDTH strips of a block, from strip `first_strip` on. Sums run over all of k and are then
// rounded to bfloat16, to nearest even.
template <int ROWS, int WIDTH>
void multiply_strips(const RowValue* x, int64_t k, const uint16_t* w, uint16_t* out, int64_t n, int64_t columns,
                     Prefetcher& prefetcher) {
  Floats sums[ROWS][WIDTH];
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < WIDTH; ++c) sums[r][c] = zeros();
  const int64_t pairs = k / 2;
  for (int64_t first = 0; first < pairs; first += PAIRS_PER_STEP) {
    for (int64_t p = first; p < std::min(first + PAIRS_PER_STEP, pairs); ++p, w += PAIR) {
      add_outer(sums, w, [&](int r) { return x + r * k + 2 * p; });
    }
    prefetcher.step();
  }
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < WIDTH; ++c)
      store_halves(first_lanes(columns - c * LANES), out + r * n + c * LANES, to_bfloat16(sums[r][c]));
}

// Returns how many strips are multiplied together, so that the sums of so many rows stay in registers.
constexpr int strips_at_once(int rows) {
  const int width = std::min(STRIPS, SUM_VECTORS / rows);
  return width == 3 ? 2 : width;
}

// Multiplies ROWS rows with one block.
template <int ROWS>
void multiply_rows(const RowValue* x, int64_t k, const uint16_t* w, uint16_t* out, int64_t n, int64_t columns,
                   Prefetcher& prefetcher) {
  constexpr int WIDTH = strips_at_once(ROWS);
  for (int64_t c = 0; c < DOT_COLUMNS && c < columns; c += WIDTH * LANES)
    multiply_strips<ROWS, WIDTH>(x, k, w + c * 2, out + c, n, columns - c, prefetcher);
}

using Kernel = void (*)(const RowValue*, int64_t, const uint16_t*, uint16_t*, int64_t, int64_t, Prefetcher&);
constexpr Kernel KERNELS[MAX_ROWS] = {multiply_rows<1>, multiply_rows<2>, multiply_rows<3>,
                                      multiply_rows<4>, multiply_rows<5>, multiply_rows<6>};

// Returns the rows of a product in the form that the kernel multiplies.
const RowValue* rows_of(const Product& product) {
  return static_cast<const RowValue*>(WIDENS_ROWS ? product.scratch : static_cast<const void*>(product.x));
}

// Widens the member's rows, if the kernel needs this, and waits for the other members.
void widen_rows(const Member& member, const Product& product) {
  if constexpr (!WIDENS_ROWS) return;
  const int64_t k = product.weight.k, begin = member.begin(product.rows) * k, end = member.end(product.rows) * k;
  copy_row(static_cast<RowValue*>(product.scratch) + begin, product.x + begin, end - begin);
  member.wait();
}

// Some rows, and where a block of their columns goes.
struct Piece {
  int64_t begin, end;  // rows
  uint16_t* out;       // output of row `begin`; rows are `stride` values apart
  int64_t stride;
};

// Multiplies a piece with one block. The passes have about equally many rows, because a short pass would wait for its
// own sums. `next`: the block to prefetch meanwhile, or NONE.
void column_block(const Product& product, int64_t block, Piece piece, int64_t next, Overlap* overlap) {
  const int64_t k = product.weight.k, values = k * DOT_COLUMNS, bytes = values * static_cast<int64_t>(sizeof(uint16_t));
  const auto* w = static_cast<const uint16_t*>(product.weight.data);
  int64_t passes = (piece.end - piece.begin + MAX_ROWS - 1) / MAX_ROWS;
  const int64_t steps = passes * ((k / 2 + PAIRS_PER_STEP - 1) / PAIRS_PER_STEP);
  const int64_t share = bytes * (piece.end - piece.begin) / product.rows;
  Prefetcher prefetcher(next == NONE ? nullptr : w + next * values, bytes, steps, overlap, share);
  for (int64_t row = piece.begin; row < piece.end; --passes) {
    const int64_t count = (piece.end - row + passes - 1) / passes;
    uint16_t* out = piece.out + (row - piece.begin) * piece.stride;
    KERNELS[count - 1](rows_of(product) + row * k, k, w + block * values, out, piece.stride,
                       product.weight.n - block * DOT_COLUMNS, prefetcher);
    row += count;
  }
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
  widen_rows(member, product);
  const Units units(product);
  if (product.rows <= PIECE_ROWS)
    return multiply_stream(product, units, member.begin(units.count()), member.end(units.count()), overlap);
  // The last unit of each share is open to all members, so that nobody waits long for a delayed thread.
  const int64_t parts = member.team.parts(), own = std::max<int64_t>(0, units.count() / parts - 1);
  multiply_stream(product, units, own * member.first, own * member.last, overlap);
  multiply_pieces(member, product, units, own * parts);
}

int64_t dot_scratch_bytes(int64_t rows, int64_t k) {
  return WIDENS_ROWS ? rows * k * static_cast<int64_t>(sizeof(RowValue)) : 0;
}

bool dot_gates(const Product& product) { return product.gated != nullptr && product.weight.n / 2 % DOT_COLUMNS == 0; }

bool dot_fits(const Tensor& packed, int64_t n, int64_t k) {
  using namespace dot_linear_detail;
  return packed.size(1) * 2 == k && packed.size(0) == blocks_of(n);
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) { m.def("dot_pack(Tensor w) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("dot_pack", TORCH_BOX(&qwen_batch::dot_linear_detail::dot_pack));
}
