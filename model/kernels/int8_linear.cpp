// y = x W^T with 8-bit weights and activations (int8_format.h), bfloat16 in and out.
//
// Weights are quantised once, when they are loaded (model/ops/int8.py); the rows of x here, in every call.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "check.h"
#include "int8_tiles.h"
#include "int8_vectors.h"
#include "product.h"
#include "rows.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

using namespace int8;

constexpr int64_t PLAIN_BYTES = GROUP + sizeof(float);  // of a group in the form of model/ops/int8.py
constexpr float SMALLEST = 1e-30f;  // a group of smaller magnitudes is zero: the inverse of its scale could be infinite
constexpr int64_t GROUP_ROWS_OF_64 = GROUP_BYTES / 64;

bool int8_available() { return QWEN_BATCH_HAS_VNNI; }

#if QWEN_BATCH_HAS_VNNI

constexpr int64_t MOST_ROWS_WITHOUT_TILES = 4;     // a lone row is a stream of weights, which vectors read as fast
constexpr int64_t PANEL_BYTES = 1024 * 1024;       // of rows: they stay in the second-level cache

std::atomic<bool> tiles_enabled{true};

// For tests: products as on a processor without AMX.
void int8_enable_tiles(bool enabled) { tiles_enabled = enabled; }

// One group of a row: 256 values, or fewer at the end of k, to bytes STEPS tiles apart.
void quantise_group(const uint16_t* x, int64_t values, int8_t* out, float& scale, int32_t& offset) {
  __m512 parts[GROUP / LANES];
  __m512 largest = _mm512_setzero_ps();
  for (int64_t i = 0; i < GROUP / LANES; ++i) {
    const int64_t left = std::clamp<int64_t>(values - i * LANES, 0, LANES);
    const __m256i raw = _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << left) - 1), x + i * LANES);
    parts[i] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
    largest = _mm512_max_ps(largest, _mm512_abs_ps(parts[i]));
  }
  const float most = _mm512_reduce_max_ps(largest);
  scale = most / 127.0f;
  const __m512 inverse = _mm512_set1_ps(most > SMALLEST ? 127.0f / most : 0.0f);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < GROUP / LANES; ++i) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(parts[i], inverse));
    sum = _mm512_add_epi32(sum, rounded);
    _mm_storeu_si128((__m128i*)(out + i * LANES / STEP * TILE + i * LANES % STEP), _mm512_cvtsepi32_epi8(rounded));
  }
  offset = 128 * _mm512_reduce_add_epi32(sum);
}

// Rows that are or will be quantised, and where.
class QuantisedRows {
 public:
  QuantisedRows(void* memory, int64_t rows, int64_t k) : rows_(rows), k_(k), groups_(groups_of(k)) {
    values_ = static_cast<int8_t*>(memory);
    scales_ = reinterpret_cast<float*>(values_ + padded() * groups_ * GROUP);
    offsets_ = reinterpret_cast<int32_t*>(scales_ + padded() * groups_);
  }

  static int64_t bytes(int64_t rows, int64_t k) { return QuantisedRows(nullptr, rows, k).padded() * groups_of(k) * (GROUP + 8); }

  int64_t padded() const { return (rows_ + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; }

  // A row of x [rows, k]. One beyond the last is zero; its scales are never used.
  void quantise(const uint16_t* x, int64_t row) {
    for (int64_t g = 0; g < groups_; ++g) {
      int8_t* out = values_ + (row / TILE_ROWS * groups_ + g) * STEPS * TILE + row % TILE_ROWS * STEP;
      const int64_t values = row < rows_ ? std::min(GROUP, k_ - g * GROUP) : 0, at = row * groups_ + g;
      quantise_group(x + (row < rows_ ? row * k_ + g * GROUP : 0), values, out, scales_[at], offsets_[at]);
    }
  }

  Rows view() const { return {values_, scales_, offsets_, rows_, groups_}; }

 private:
  static int64_t groups_of(int64_t k) { return (k + GROUP - 1) / GROUP; }

  int64_t rows_, k_, groups_;
  int8_t* values_;
  float* scales_;
  int32_t* offsets_;
};

Target target_of(const Product& product, int64_t block) {
  return {product.out + block * COLUMNS, product.weight.n, product.weight.n - block * COLUMNS};
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
      tile_block(x, row, std::min(row + panel, x.count), weights_of(product, x, block), target_of(product, block), block + 1 < end);
#endif
}

void multiply_by_vectors(const Product& product, const Rows& x, int64_t begin, int64_t end, Beside* beside) {
  for (int64_t block = begin; block < end; ++block)
    vector_block(x, weights_of(product, x, block), target_of(product, block), block + 1 < end, beside);
}

#else

void int8_enable_tiles(bool) {}

#endif  // QWEN_BATCH_HAS_VNNI

// Plain groups [n, groups, 260], each with its scale behind its values -> blocks [n / 32, groups, 130, 64], columns padded with zeros.
Tensor int8_pack(const Tensor& plain) {
  check(plain.dim() == 3 && plain.scalar_type() == ScalarType::Byte && plain.is_contiguous() && plain.size(2) == PLAIN_BYTES,
        "int8_pack: the weight must be contiguous bytes [n, groups, 260]");
  const int64_t n = plain.size(0), groups = plain.size(1), blocks = (n + COLUMNS - 1) / COLUMNS;
  Tensor packed = weight_memory({blocks, groups, GROUP_ROWS_OF_64, 16, QUAD}, ScalarType::Byte, 1);
  const auto* in = static_cast<const uint8_t*>(plain.const_data_ptr());
  auto* out = static_cast<uint8_t*>(packed.mutable_data_ptr());
  torch::stable::parallel_for(0, blocks * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      uint8_t* block = out + at * GROUP_BYTES;
      std::memset(block, 0, GROUP_BYTES);
      for (int64_t c = 0; c < COLUMNS && at / groups * COLUMNS + c < n; ++c) {
        const uint8_t* group = in + ((at / groups * COLUMNS + c) * groups + at % groups) * PLAIN_BYTES;
        for (int64_t quad = 0; quad < GROUP / QUAD; ++quad) {
          uint8_t* tile = block + (quad / TILE_ROWS * 2 + c / 16) * TILE;
          std::memcpy(tile + quad % TILE_ROWS * 64 + c % 16 * QUAD, group + quad * QUAD, QUAD);
        }
        std::memcpy(block + GROUP * COLUMNS + c * sizeof(float), group + GROUP, sizeof(float));
      }
    }
  });
  return packed;
}

}  // namespace

#if QWEN_BATCH_HAS_VNNI

int64_t int8_scratch_bytes(int64_t rows, int64_t k) { return QuantisedRows::bytes(rows, k); }

void int8_multiply(const Member& member, const Product& product, Beside* beside) {
  QuantisedRows rows(product.scratch, product.rows, product.weight.k);
  for (int64_t row = member.begin(rows.padded()); row < member.end(rows.padded()); ++row) rows.quantise(product.x, row);
  member.wait();
  const int64_t blocks = (product.weight.n + COLUMNS - 1) / COLUMNS, begin = member.begin(blocks), end = member.end(blocks);
  if (QWEN_BATCH_HAS_AMX_INT8 && tiles_enabled && product.rows > MOST_ROWS_WITHOUT_TILES && amx_granted())
    multiply_on_tiles(product, rows.view(), begin, end);
  else
    multiply_by_vectors(product, rows.view(), begin, end, beside);
}

#else

int64_t int8_scratch_bytes(int64_t, int64_t) { return 0; }
void int8_multiply(const Member&, const Product&, Beside*) {}

#endif

bool int8_fits(const Tensor& packed, int64_t n, int64_t k) {
  return int8_available() && packed.size(1) == (k + GROUP - 1) / GROUP && packed.size(0) == (n + COLUMNS - 1) / COLUMNS && packed.size(2) == GROUP_ROWS_OF_64;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("int8_available() -> bool");
  m.def("int8_enable_tiles(bool enabled) -> ()");
  m.def("int8_pack(Tensor plain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("int8_available", TORCH_BOX(&qwen_batch::int8_available));
  m.impl("int8_enable_tiles", TORCH_BOX(&qwen_batch::int8_enable_tiles));
  m.impl("int8_pack", TORCH_BOX(&qwen_batch::int8_pack));
}
