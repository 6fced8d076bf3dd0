// Makes the data that a screen of the output layer (screen.cpp) keeps of the weight: its 8-bit values and their errors.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "check.h"
#include "int8_pack.h"
#include "int8_rows.h"
#include "quantised_weight.h"
#include "screen_errors.h"
#include "weight_memory.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace screen_pack_detail {
namespace {

using namespace int8;

// Quantises a row of the weight to plain groups. Returns the lengths of the row's error and of its quantised form, as
// vectors.
RowErrors quantise_row(const uint16_t* row, int64_t k, uint8_t* plain) {
  alignas(64) RowInteger quantised[STEPS * TILE];
  Floats error = zeros(), approximate = zeros();
  for (int64_t first = 0; first < k; first += GROUP, plain += PLAIN_BYTES) {
    float scale;
    int32_t offset;
    quantise_group(row + first, std::min(GROUP, k - first), quantised, scale, offset);
    for (int64_t i = 0; i < GROUP / LANES; ++i) {
      const RowInteger* values = quantised + place_in_group(i);
      for (int64_t lane = 0; lane < LANES; ++lane) plain[i * LANES + lane] = static_cast<uint8_t>(values[lane] + 128);
      const Floats restored = restore(values, scale);
      const Floats difference = load_some(row + first + i * LANES, k - first - i * LANES) - restored;
      error = multiply_add(difference, difference, error);
      approximate = multiply_add(restored, restored, approximate);
    }
    std::memcpy(plain + GROUP, &scale, sizeof scale);
  }
  return {.error = std::sqrt(sum_of_lanes(error)), .approximate = std::sqrt(sum_of_lanes(approximate))};
}

// Packs w [n, k] bfloat16. Returns its 8-bit form and the factors of `RowErrors`, float32 [2, n padded to a multiple of
// 16].
std::tuple<Tensor, Tensor> screen_pack(const Tensor& w) {
  check(w.dim() == 2 && w.scalar_type() == ScalarType::BFloat16 && w.is_contiguous(),
        "screen_pack: w must be a contiguous bfloat16 matrix");
  const int64_t n = w.size(0), k = w.size(1), groups = groups_of<Format>(k), blocks = column_blocks(n);
  const int64_t padded = strips_of(n) * STRIP;
  Tensor packed = weight_memory({blocks, groups, GROUP_LINES, 16, QUAD}, ScalarType::Byte, 1);
  Tensor errors = torch::stable::empty({2, padded}, ScalarType::Float);
  const auto* rows = static_cast<const uint16_t*>(w.const_data_ptr());
  auto* out = static_cast<uint8_t*>(packed.mutable_data_ptr());
  auto* factors = static_cast<float*>(errors.mutable_data_ptr());
  std::fill(factors, factors + 2 * padded, 0.0f);
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> plain(COLUMNS * groups * PLAIN_BYTES);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * COLUMNS, columns = std::min(COLUMNS, n - first);
      for (int64_t c = 0; c < columns; ++c) {
        const RowErrors found = quantise_row(rows + (first + c) * k, k, plain.data() + c * groups * PLAIN_BYTES);
        factors[first + c] = found.hidden_factor(k);
        factors[padded + first + c] = found.rounding_factor();
      }
      pack_block(plain.data(), columns, groups, out + block * groups * GROUP_BYTES);
    }
  });
  return {packed, errors};
}

}  // namespace
}  // namespace screen_pack_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) { m.def("screen_pack(Tensor w) -> (Tensor, Tensor)"); }

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("screen_pack", TORCH_BOX(&qwen_batch::screen_pack_detail::screen_pack));
}
