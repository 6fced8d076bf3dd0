// A whole decoder layer in bfloat16: the products and attention of this folder with what lies between them, in one call.
//
// What torch.compile makes of the same layer spends more time in starting threads for small loops than in the loops: here a
// loop is shared between threads only where that pays, and the layer's calls cost no Python.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <stdexcept>

#include "kernels.h"
#include "rows.h"

using torch::headeronly::ScalarType;

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

#if QWEN_BATCH_HAS_AVX512_BF16

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
    check(slot[t] >= 0 && slot[t] < k_cache.size(0) * page_size, "decoder_layer: a slot is outside the cache");
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

#endif

// Whether this build can run a layer of these sizes. Its weights must be packed for the kernels of this folder.
bool layer_available(int64_t hidden_size, int64_t intermediate_size, int64_t dim) {
#if QWEN_BATCH_HAS_AVX512_BF16
  return hidden_size % LANES == 0 && intermediate_size % LANES == 0 && dim % (2 * LANES) == 0;
#else
  return false;
#endif
}

// As `decoder_layer` of model/qwen3.py: hidden [T, E] bfloat16 to the same, caches changed in place.
Tensor decoder_layer(const Tensor& hidden, const Tensor& input_norm, const Tensor& qkv, const Tensor& q_norm, const Tensor& k_norm,
                     const Tensor& o, const Tensor& post_norm, const Tensor& gate_up, const Tensor& down, Tensor k_cache, Tensor v_cache,
                     const Tensor& cos, const Tensor& sin, const Tensor& slots, const Tensor& query_start, const Tensor& context_lens,
                     const Tensor& block_tables, int64_t heads, int64_t intermediate_size, double eps, bool is_decode) {
  const int64_t hidden_size = hidden.size(1), kv_heads = k_cache.size(1), dim = k_cache.size(3), tokens = hidden.size(0);
  check(layer_available(hidden_size, intermediate_size, dim), "decoder_layer: this build does not know such a layer");
  for (const Tensor* t : std::initializer_list<const Tensor*>{&hidden, &input_norm, &q_norm, &k_norm, &post_norm, &k_cache, &v_cache})
    check(t->scalar_type() == ScalarType::BFloat16 && t->is_contiguous(), "decoder_layer: hidden states, norms and caches must be contiguous bfloat16");
  for (const Tensor* t : {&cos, &sin})
    check(t->scalar_type() == ScalarType::Float && t->is_contiguous() && t->size(0) == tokens && t->size(1) * 2 == dim, "decoder_layer: cos and sin must be contiguous float32 [T, D / 2]");
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == tokens, "decoder_layer: one int64 slot a token");
#if QWEN_BATCH_HAS_AVX512_BF16
  const float epsilon = static_cast<float>(eps);
  const Tensor rows = linear(rms_norm(hidden, input_norm, epsilon), qkv, (heads + 2 * kv_heads) * dim);
  const Tensor q = rotate_and_store(rows, q_norm, k_norm, k_cache, v_cache, cos, sin, slots, heads, epsilon);
  const Tensor attended = paged_attention(q, k_cache, v_cache, query_start, context_lens, block_tables, 1.0 / std::sqrt(static_cast<double>(dim)), is_decode);
  const Tensor between = add(hidden, linear(torch::stable::view(attended, {tokens, heads * dim}), o, hidden_size));
  const Tensor gated = swiglu(linear(rms_norm(between, post_norm, epsilon), gate_up, 2 * intermediate_size));
  return add(between, linear(gated, down, hidden_size));
#else
  return hidden;
#endif
}

}  // namespace
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("layer_available(int hidden_size, int intermediate_size, int dim) -> bool");
  m.def("decoder_layer(Tensor hidden, Tensor input_norm, Tensor qkv, Tensor q_norm, Tensor k_norm, Tensor o, Tensor post_norm, "
        "Tensor gate_up, Tensor down, Tensor(a!) k_cache, Tensor(b!) v_cache, Tensor cos, Tensor sin, Tensor slots, Tensor query_start, "
        "Tensor context_lens, Tensor block_tables, int heads, int intermediate_size, float eps, bool is_decode) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("layer_available", TORCH_BOX(&qwen_batch::layer_available));
  m.impl("decoder_layer", TORCH_BOX(&qwen_batch::decoder_layer));
}
