// y = x W^T in bfloat16 on a CPU with AMX tiles, with float32 sums.
//
// Why not oneDNN: on AMX its kernels choose their blocking by the number of rows, so a row's bits depend on how many
// rows are computed with it. Here every output element is one chain of TDPBF16PS over k = 0, 32, 64, …, whatever the
// number of rows. A row's bits therefore depend on that row alone.
//
// Packed weight: [n / 32][k / 32][2 tiles][16 k-pairs][16 columns][2]. Each tile is 1 KiB, in the layout that TDPBF16PS
// needs for its second operand. A block of 32 columns is one contiguous stream, read once per call for each panel of
// rows.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>

#include "amx_tiles.h"
#include "check.h"
#include "product.h"
#include "vector_math.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace amx_linear_detail {
namespace {

constexpr int64_t TILE_K = 32;
constexpr int64_t TILE_VALUES = TILE_ROWS * TILE_K;  // bfloat16 values per tile of 1 KiB
constexpr int64_t BLOCK_N = 32;                      // columns per block: two tiles
constexpr int64_t PANEL_VALUES = 512 * 1024;         // values of x per panel, which stays in the second-level cache

#if QWEN_BATCH_HAS_AMX

// Packs x [rows, k] into tiles [rows / 16][k / 32][16][32]. Rows beyond the last are zero.
void pack_rows(const uint16_t* x, uint16_t* tiles, int64_t rows, int64_t k, int64_t tile_begin, int64_t tile_end) {
  for (int64_t t = tile_begin; t < tile_end; ++t) {
    for (int64_t r = 0; r < TILE_ROWS; ++r) {
      const int64_t row = t * TILE_ROWS + r;
      for (int64_t c = 0; c < k / TILE_K; ++c) {
        uint16_t* out = tiles + (t * (k / TILE_K) + c) * TILE_VALUES + r * TILE_K;
        const __m512i values = row < rows ? _mm512_loadu_si512(x + row * k + c * TILE_K) : _mm512_setzero_si512();
        _mm512_store_si512(out, values);
      }
    }
  }
}

// Rounds `rows` x `columns` of 16 x 16 float32 sums to bfloat16 (to nearest even) and stores them.
void store_tile(const float* sums, uint16_t* out, int64_t stride, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    const __m256bh values = _mm512_cvtneps_pbh(_mm512_load_ps(sums + r * 16));
    _mm256_mask_storeu_epi16(out + r * stride, first_lanes(columns), (__m256i)values);
  }
}

constexpr int64_t PREFETCH_BYTES = 4096;  // how far ahead the weights are prefetched

// Multiplies up to 16 rows: one tile of x with the two tiles of each step of a block.
void block_of_16(const uint16_t* x, const uint16_t* w, float* sums, int64_t steps) {
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t s = 0; s < steps; ++s) {
    const char* ahead = reinterpret_cast<const char*>(w + s * 2 * TILE_VALUES) + PREFETCH_BYTES;
    for (int64_t line = 0; line < 2048; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T0);
    _tile_loadd(4, x + s * TILE_VALUES, 64);
    _tile_loadd(6, w + s * 2 * TILE_VALUES, 64);
    _tile_loadd(7, w + s * 2 * TILE_VALUES + TILE_VALUES, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
}

constexpr int64_t AHEAD_BYTES = 256;  // prefetched per step of the next block, once the current block is in the cache

// Multiplies 32 rows with four accumulators; each tile that is loaded is used twice. `ahead`: what to prefetch
// meanwhile, or nullptr.
void block_of_32(const uint16_t* x, const uint16_t* w, float* sums, int64_t steps, const char* ahead) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const uint16_t* below = x + steps * TILE_VALUES;
  for (int64_t s = 0; s < steps; ++s) {
    if (ahead != nullptr)
      for (int64_t line = 0; line < AHEAD_BYTES; line += 64) _mm_prefetch(ahead + s * AHEAD_BYTES + line, _MM_HINT_T1);
    _tile_loadd(4, x + s * TILE_VALUES, 64);
    _tile_loadd(6, w + s * 2 * TILE_VALUES, 64);
    _tile_loadd(7, w + s * 2 * TILE_VALUES + TILE_VALUES, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, below + s * TILE_VALUES, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

// A product with packed rows.
struct Tiles {
  const uint16_t* x_tiles;
  const uint16_t* weight;
  uint16_t* out;
  int64_t rows, n, k;

  // Multiplies one block of columns with the rows of one panel.
  void column_block(int64_t block, int64_t row_begin, int64_t row_end) const {
    alignas(64) float sums[4 * 256];
    const int64_t steps = k / TILE_K;
    const uint16_t* w = weight + block * steps * 2 * TILE_VALUES;
    const int64_t column = block * BLOCK_N;
    const int64_t left = std::min(TILE_ROWS, n - column);
    const int64_t right = std::clamp<int64_t>(n - column - 16, 0, 16);
    const char* ahead = nullptr;  // the first rows wait for this block's weights, later rows prefetch the next block
    const char* next = reinterpret_cast<const char*>(w + steps * 2 * TILE_VALUES);
    for (int64_t row = row_begin; row < row_end;) {
      const uint16_t* x = x_tiles + row / TILE_ROWS * steps * TILE_VALUES;
      const bool two = row + TILE_ROWS < row_end;
      if (two) {
        block_of_32(x, w, sums, steps, ahead);
        ahead = ahead == nullptr ? next : ahead + steps * AHEAD_BYTES;
        if (ahead >= next + steps * 4 * TILE_VALUES) ahead = nullptr;
      } else {
        block_of_16(x, w, sums, steps);
      }
      for (int64_t half = 0; half < (two ? 2 : 1); ++half, row += TILE_ROWS) {
        const int64_t valid = std::min(TILE_ROWS, rows - row);
        store_tile(sums + half * 512, out + row * n + column, n, valid, left);
        if (right > 0) store_tile(sums + half * 512 + 256, out + row * n + column + 16, n, valid, right);
      }
    }
  }
};

#endif  // QWEN_BATCH_HAS_AMX

bool amx_available() { return amx_granted(); }

// Packs w [n, k] bfloat16, where k is a multiple of 32. n is padded with zeros to a multiple of 32.
Tensor amx_pack(const Tensor& w) {
  check(w.dim() == 2 && w.scalar_type() == ScalarType::BFloat16 && w.is_contiguous(),
        "amx_pack: w must be a contiguous bfloat16 matrix");
  const int64_t n = w.size(0), k = w.size(1);
  check(k % TILE_K == 0, "amx_pack: the inner size must be a multiple of 32");
  const int64_t blocks = (n + BLOCK_N - 1) / BLOCK_N;
  Tensor packed = weight_memory({blocks, k / TILE_K, 2, TILE_ROWS, 16, 2}, ScalarType::BFloat16, sizeof(uint16_t));
  const auto* in = static_cast<const uint16_t*>(w.const_data_ptr());
  auto* out = static_cast<uint16_t*>(packed.mutable_data_ptr());
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      for (int64_t step = 0; step < k / TILE_K; ++step)
        for (int64_t column = 0; column < BLOCK_N; ++column) {
          const int64_t row = block * BLOCK_N + column;
          uint16_t* tile = out + ((block * (k / TILE_K) + step) * 2 + column / 16) * TILE_VALUES;
          for (int64_t pair = 0; pair < 16; ++pair)
            for (int64_t odd = 0; odd < 2; ++odd)
              tile[pair * 32 + column % 16 * 2 + odd] = row < n ? in[row * k + step * TILE_K + pair * 2 + odd] : 0;
        }
  });
  return packed;
}

int64_t row_tiles(int64_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }

}  // namespace
}  // namespace amx_linear_detail

int64_t amx_scratch_bytes(int64_t rows, int64_t k) {
  return amx_linear_detail::row_tiles(rows) * TILE_ROWS * k * static_cast<int64_t>(sizeof(uint16_t));
}

void amx_multiply(const Member& member, const Product& product) {
#if QWEN_BATCH_HAS_AMX
  using namespace amx_linear_detail;
  const int64_t n = product.weight.n, k = product.weight.k, rows = product.rows, tiles = row_tiles(rows);
  auto* packed = static_cast<uint16_t*>(product.scratch);
  pack_rows(product.x, packed, rows, k, member.begin(tiles), member.end(tiles));
  member.wait();
  const Tiles work{
      .x_tiles = packed,
      .weight = static_cast<const uint16_t*>(product.weight.data),
      .out = product.out,
      .rows = rows,
      .n = n,
      .k = k,
  };
  const int64_t blocks = (n + BLOCK_N - 1) / BLOCK_N,
                panel = std::max<int64_t>(2 * TILE_ROWS, PANEL_VALUES / k / 32 * 32);
  const TileScope scope(std::min(rows, TILE_ROWS));
  for (int64_t row = 0; row < rows; row += panel)
    for (int64_t block = member.begin(blocks); block < member.end(blocks); ++block)
      work.column_block(block, row, std::min(row + panel, tiles * TILE_ROWS));
#endif
}

bool amx_fits(const Tensor& packed, int64_t n, int64_t k) {
  using namespace amx_linear_detail;
  return amx_available() && packed.size(1) * TILE_K == k && packed.size(0) == (n + BLOCK_N - 1) / BLOCK_N;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("amx_available() -> bool");
  m.def("amx_pack(Tensor w) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("amx_available", TORCH_BOX(&qwen_batch::amx_linear_detail::amx_available));
  m.impl("amx_pack", TORCH_BOX(&qwen_batch::amx_linear_detail::amx_pack));
}
