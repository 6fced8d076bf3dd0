// y = x W^T in bfloat16 with AVX512-BF16 dot products, fp32 accumulation.
//
// Every output element is one chain of VDPBF16PS over k = 0, 2, 4, … whatever the number of rows, so a row's bits depend
// on that row alone.
//
// Packed weight: [n / 64][k / 2][64 columns][2], so a block of 64 columns is one contiguous stream. It is read from memory
// once a call: while a block is multiplied, the next one is fetched into the second-level cache. One or two rows are done with
// a block as fast as it comes; what the processor fetches ahead by itself, in huge pages, is then faster.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "ahead.h"
#include "product.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

constexpr int64_t BLOCK_N = 64;  // columns a block: four registers of 16 sums
constexpr int REGISTERS = 4;
constexpr int MOST_ROWS = 6;     // rows worked on together: 24 registers of sums, 4 of weights, 1 of a row's pair
constexpr int64_t PAIR = BLOCK_N * 2;  // bfloat16 values of a block for one pair of k
constexpr int64_t PAIRS_A_STEP = 4;    // between requests to fetch
constexpr int64_t PIECE_ROWS = 20 * MOST_ROWS;  // rows of a block worked on as a piece: tenths of a millisecond

#if QWEN_BATCH_HAS_AVX512_BF16

// ROWS rows times one block: sums over all of k, then to bfloat16, to nearest even.
template <int ROWS>
void multiply_rows(const uint16_t* x, int64_t k, const uint16_t* w, uint16_t* out, int64_t n, int64_t columns, Ahead& ahead) {
  __m512 sums[ROWS][REGISTERS];
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < REGISTERS; ++c) sums[r][c] = _mm512_setzero_ps();
  const int64_t pairs = k / 2;
  for (int64_t first = 0; first < pairs; first += PAIRS_A_STEP) {
    for (int64_t p = first; p < std::min(first + PAIRS_A_STEP, pairs); ++p, w += PAIR) {
      __m512bh weights[REGISTERS];
      for (int c = 0; c < REGISTERS; ++c) weights[c] = (__m512bh)_mm512_loadu_si512(w + c * 32);
      for (int r = 0; r < ROWS; ++r) {
        int32_t pair;
        std::memcpy(&pair, x + r * k + 2 * p, sizeof pair);
        const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
        for (int c = 0; c < REGISTERS; ++c) sums[r][c] = _mm512_dpbf16_ps(sums[r][c], weights[c], both);
      }
    }
    ahead.step();
  }
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < REGISTERS; ++c) {
      const int64_t left = std::clamp<int64_t>(columns - c * 16, 0, 16);
      const __mmask16 mask = left == 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
      _mm256_mask_storeu_epi16(out + r * n + c * 16, mask, (__m256i)_mm512_cvtneps_pbh(sums[r][c]));
    }
}

using Kernel = void (*)(const uint16_t*, int64_t, const uint16_t*, uint16_t*, int64_t, int64_t, Ahead&);
constexpr Kernel KERNELS[MOST_ROWS] = {multiply_rows<1>, multiply_rows<2>, multiply_rows<3>,
                                       multiply_rows<4>, multiply_rows<5>, multiply_rows<6>};

struct RowRange {
  int64_t begin, end;
};

// Rows times one block, in passes of about as many rows each: a short one would wait for its own sums.
void column_block(const Product& product, int64_t block, RowRange rows, bool fetch_next, Beside* beside) {
  const int64_t n = product.weight.n, k = product.weight.k;
  const int64_t values = k * BLOCK_N, bytes = values * static_cast<int64_t>(sizeof(uint16_t));
  const auto* w = static_cast<const uint16_t*>(product.weight.data) + block * values;
  int64_t passes = (rows.end - rows.begin + MOST_ROWS - 1) / MOST_ROWS;
  const int64_t steps = passes * ((k / 2 + PAIRS_A_STEP - 1) / PAIRS_A_STEP);
  Ahead ahead(fetch_next ? w + values : nullptr, bytes, steps, beside);
  for (int64_t row = rows.begin; row < rows.end; --passes) {
    const int64_t count = (rows.end - row + passes - 1) / passes;
    KERNELS[count - 1](product.x + row * k, k, w, product.out + row * n + block * BLOCK_N, n, n - block * BLOCK_N, ahead);
    row += count;
  }
  if (beside != nullptr) beside->multiplied(bytes);
}

// Few rows: each member has blocks that lie side by side, which it reads as one stream.
void multiply_few(const Member& member, const Product& product, int64_t blocks, Beside* beside) {
  const int64_t end = member.end(blocks);
  for (int64_t block = member.begin(blocks); block < end; ++block)
    column_block(product, block, {0, product.rows}, product.rows > 2 && block + 1 < end, beside);
}

// Many rows: members take pieces of blocks as they come to them, so that nobody waits long for a thread that was held up.
void multiply_many(const Member& member, const Product& product, int64_t blocks) {
  const int64_t pieces = (product.rows + PIECE_ROWS - 1) / PIECE_ROWS;
  int64_t last_block = -1;
  for (int64_t taken = member.team.take(); taken < blocks * pieces; taken = member.team.take()) {
    const int64_t block = taken / pieces, begin = taken % pieces * PIECE_ROWS;
    column_block(product, block, {begin, std::min(begin + PIECE_ROWS, product.rows)}, block != last_block && block + 1 < blocks, nullptr);
    last_block = block;
  }
}

#endif  // QWEN_BATCH_HAS_AVX512_BF16

bool dot_available() { return QWEN_BATCH_HAS_AVX512_BF16; }

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// w [n, k] bfloat16, k even -> the packed form, n padded with zeros to a multiple of 64.
Tensor dot_pack(const Tensor& w) {
  check(w.dim() == 2 && w.scalar_type() == ScalarType::BFloat16 && w.is_contiguous(), "dot_pack: w must be a contiguous bfloat16 matrix");
  const int64_t n = w.size(0), k = w.size(1), blocks = (n + BLOCK_N - 1) / BLOCK_N;
  check(k % 2 == 0, "dot_pack: the inner size must be even");
  Tensor packed = weight_memory({blocks, k / 2, BLOCK_N, 2}, ScalarType::BFloat16, sizeof(uint16_t));
  const auto* in = static_cast<const uint16_t*>(w.const_data_ptr());
  auto* out = static_cast<uint16_t*>(packed.mutable_data_ptr());
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      for (int64_t column = 0; column < BLOCK_N; ++column) {
        const int64_t row = block * BLOCK_N + column;
        for (int64_t p = 0; p < k / 2; ++p)
          for (int64_t odd = 0; odd < 2; ++odd)
            out[block * BLOCK_N * k + p * PAIR + column * 2 + odd] = row < n ? in[row * k + 2 * p + odd] : 0;
      }
  });
  return packed;
}

}  // namespace

void dot_multiply(const Member& member, const Product& product, Beside* beside) {
#if QWEN_BATCH_HAS_AVX512_BF16
  const int64_t blocks = (product.weight.n + BLOCK_N - 1) / BLOCK_N;
  if (product.rows > PIECE_ROWS && beside == nullptr) multiply_many(member, product, blocks);
  else multiply_few(member, product, blocks, beside);
#endif
}

bool dot_fits(const Tensor& packed, int64_t n, int64_t k) {
  return dot_available() && packed.size(1) * 2 == k && packed.size(0) == (n + BLOCK_N - 1) / BLOCK_N;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("dot_available() -> bool");
  m.def("dot_pack(Tensor w) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("dot_available", TORCH_BOX(&qwen_batch::dot_available));
  m.impl("dot_pack", TORCH_BOX(&qwen_batch::dot_pack));
}
