// A decoder layer in bfloat16: the products and attention of this folder with what lies between them.
//
// As `decoder_layer` of model/qwen3.py, rounded where it rounds. What torch.compile makes of the same layer spends more time in
// starting threads for small loops than in the loops: here a loop is shared between threads only where that pays.

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "layer.h"
#include "rows.h"

#if QWEN_BATCH_HAS_AVX512_BF16

namespace qwen_batch {
namespace {

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

constexpr int64_t VALUES_A_THREAD = 65536;  // fewer than this and waking another thread takes longer than the work

const uint16_t* values_of(const Tensor& tensor) { return static_cast<const uint16_t*>(tensor.const_data_ptr()); }
uint16_t* values_of(Tensor& tensor) { return static_cast<uint16_t*>(tensor.mutable_data_ptr()); }

// Calls `row(i)` for every row, on as many threads as pays for rows of `width` values.
template <typename Row>
void for_rows(int64_t rows, int64_t width, const Row& row) {
  torch::stable::parallel_for(0, rows, std::max<int64_t>(1, VALUES_A_THREAD / width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) row(i);
  });
}

Tensor like(const Tensor& x, int64_t columns) { return torch::stable::new_empty(x, {x.size(0), columns}); }

Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps) {
  const int64_t n = x.size(1);
  Tensor out = like(x, n);
  for_rows(x.size(0), n, [&](int64_t i) { rms_norm_row(values_of(x) + i * n, values_of(weight), values_of(out) + i * n, n, eps); });
  return out;
}

Tensor add(const Tensor& a, const Tensor& b) {
  const int64_t n = a.size(1);
  Tensor out = like(a, n);
  for_rows(a.size(0), n, [&](int64_t i) { add_row(values_of(a) + i * n, values_of(b) + i * n, values_of(out) + i * n, n); });
  return out;
}

Tensor swiglu(const Tensor& gate_up) {
  const int64_t n = gate_up.size(1) / 2;
  Tensor out = like(gate_up, n);
  for_rows(gate_up.size(0), 2 * n, [&](int64_t i) {
    const uint16_t* row = values_of(gate_up) + i * 2 * n;
    swiglu_row(row, row + n, values_of(out) + i * n, n);
  });
  return out;
}

// Norms and rotates queries and keys [T, (H + 2 KV) D]; keys and values go to their slots, the queries [T, H, D] come back.
Tensor rotate_and_store(const Tensor& qkv, const Tensor& q_norm, const Tensor& k_norm, Tensor& k_cache, Tensor& v_cache, const Tensor& cos,
                        const Tensor& sin, const Tensor& slots, int64_t heads, float eps) {
  const int64_t kv_heads = k_cache.size(1), page_size = k_cache.size(2), dim = k_cache.size(3), width = qkv.size(1);
  const auto* slot = static_cast<const int64_t*>(slots.const_data_ptr());
  const auto* cosines = static_cast<const float*>(cos.const_data_ptr());
  const auto* sines = static_cast<const float*>(sin.const_data_ptr());
  for (int64_t t = 0; t < slots.size(0); ++t)
    check(slot[t] >= 0 && slot[t] < k_cache.size(0) * page_size, "decoder_layers: a slot is outside the cache");
  Tensor queries = torch::stable::new_empty(qkv, {qkv.size(0), heads, dim});
  for_rows(qkv.size(0), width, [&](int64_t t) {
    const uint16_t* row = values_of(qkv) + t * width;
    const float *c = cosines + t * dim / 2, *s = sines + t * dim / 2;
    for (int64_t h = 0; h < heads; ++h)
      norm_and_rotate(row + h * dim, values_of(q_norm), c, s, values_of(queries) + (t * heads + h) * dim, dim, eps);
    for (int64_t h = 0; h < kv_heads; ++h) {
      const int64_t at = cache_row(slot[t], h, kv_heads, page_size) * dim;
      norm_and_rotate(row + (heads + h) * dim, values_of(k_norm), c, s, values_of(k_cache) + at, dim, eps);
      std::memcpy(values_of(v_cache) + at, row + (heads + kv_heads + h) * dim, dim * sizeof(uint16_t));
    }
  });
  return queries;
}

}  // namespace

Tensor project(const Tensor& hidden, const LayerWeights& weights, const LayerSizes& sizes, const StepRows& rows, Tensor& k_cache, Tensor& v_cache) {
  const float eps = static_cast<float>(sizes.eps);
  const int64_t columns = (sizes.heads + 2 * k_cache.size(1)) * k_cache.size(3);
  const Tensor qkv = linear(rms_norm(hidden, weights.input_norm, eps), weights.qkv, columns);
  return rotate_and_store(qkv, weights.q_norm, weights.k_norm, k_cache, v_cache, rows.cos, rows.sin, rows.slots, sizes.heads, eps);
}

Tensor attend(const Tensor& queries, const LayerSizes& sizes, const StepRows& rows, const Tensor& k_cache, const Tensor& v_cache) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(k_cache.size(3)));
  return paged_attention(queries, k_cache, v_cache, rows.query_start, rows.context_lens, rows.block_tables, scale, sizes.is_decode);
}

Tensor finish(const Tensor& hidden, const Tensor& attended, const LayerWeights& weights, const LayerSizes& sizes) {
  const int64_t tokens = hidden.size(0), hidden_size = hidden.size(1);
  const Tensor rows = torch::stable::view(attended, {tokens, attended.size(1) * attended.size(2)});
  const Tensor between = add(hidden, linear(rows, weights.o, hidden_size));
  const Tensor normed = rms_norm(between, weights.post_norm, static_cast<float>(sizes.eps));
  const Tensor gated = swiglu(linear(normed, weights.gate_up, 2 * sizes.intermediate_size));
  return add(between, linear(gated, weights.down, hidden_size));
}

}  // namespace qwen_batch

#endif
