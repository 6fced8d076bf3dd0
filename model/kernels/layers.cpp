// All decoder layers of a step in one call, in bfloat16.
//
// Products are bound by arithmetic and attention by memory: done by all threads together, one after the other, each leaves
// the other's means idle. So in a decode step of many sequences every thread takes some of them through all layers by itself,
// and every second thread begins one attention later: while one reads its cache the other multiplies. (Zhu et al., arXiv
// 2408.12757, overlap parts of a batch on a GPU in this way.)

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <vector>

#include "balance.h"
#include "layer.h"
#include "rows.h"

using torch::headeronly::ScalarType;

namespace qwen_batch {
namespace {

using Tensors = std::vector<Tensor>;

constexpr size_t WEIGHTS_A_LAYER = 8;
constexpr int64_t ROWS_A_THREAD = 24;    // from here on a product is bound by arithmetic, also when one thread does it alone
constexpr int64_t FLOPS_A_BYTE = 10;     // of a thread: what it multiplies while it reads a byte of the cache

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// Whether this build can run layers of these sizes. Their weights must be packed for the kernels of this folder.
bool layers_available(int64_t hidden_size, int64_t intermediate_size, int64_t dim) {
#if QWEN_BATCH_HAS_AVX512_BF16
  return hidden_size % LANES == 0 && intermediate_size % LANES == 0 && dim % (2 * LANES) == 0;
#else
  return false;
#endif
}

#if QWEN_BATCH_HAS_AVX512_BF16

struct Model {
  const Tensors& weights;
  Tensors &k_caches, &v_caches;
  const LayerSizes sizes;

  LayerWeights layer(size_t index) const {
    const Tensor* first = &weights[index * WEIGHTS_A_LAYER];
    return {first[0], first[1], first[2], first[3], first[4], first[5], first[6], first[7]};
  }
};

// Opens once.
class Gate {
 public:
  void open() {
    open_ = true;
    open_.notify_all();
  }
  void pass() const { open_.wait(false); }

 private:
  std::atomic<bool> open_{false};
};

// Opens at the end of a block, if nobody has before.
struct OpenAtTheEnd {
  Gate& gate;
  ~OpenAtTheEnd() { gate.open(); }
};

// Rows through all layers. The first attention waits for `before`, if there is one, and opens `after`.
Tensor run_rows(const Model& model, Tensor hidden, const StepRows& rows, const Gate* before, Gate& after) {
  for (size_t i = 0; i < model.k_caches.size(); ++i) {
    const LayerWeights weights = model.layer(i);
    const Tensor queries = project(hidden, weights, model.sizes, rows, model.k_caches[i], model.v_caches[i]);
    if (i == 0 && before != nullptr) before->pass();
    const Tensor attended = attend(queries, model.sizes, rows, model.k_caches[i], model.v_caches[i]);
    if (i == 0) after.open();
    hidden = finish(hidden, attended, weights, model.sizes);
  }
  return hidden;
}

StepRows part_of(const StepRows& rows, int64_t begin, int64_t count) {
  const auto part = [&](const Tensor& whole) { return torch::stable::narrow(const_cast<Tensor&>(whole), 0, begin, count); };
  return {part(rows.cos), part(rows.sin), part(rows.slots), rows.query_start, part(rows.context_lens), part(rows.block_tables)};
}

// How many threads take sequences of their own.
int64_t num_parts(const Model& model, const Tensor& hidden) {
  const int64_t threads = torch::stable::get_num_threads();
  const bool pays = model.sizes.is_decode && bound_by_arithmetic(model.weights[1]) && hidden.size(0) >= threads * ROWS_A_THREAD;
  return pays ? threads : 1;
}

// Borders that give all parts about the same time: of a row's products and of what its attention reads.
std::vector<int64_t> borders_of(const Model& model, const StepRows& rows, int64_t parts) {
  const Tensor& k_cache = model.k_caches[0];
  const int64_t hidden_size = model.weights[0].size(0);
  const int64_t heads = model.sizes.heads, kv_heads = k_cache.size(1), dim = k_cache.size(3);
  const int64_t flops = 2 * hidden_size * ((2 * heads + 2 * kv_heads) * dim + 3 * model.sizes.intermediate_size);
  const int64_t bytes_a_token = 2 * kv_heads * dim * sizeof(uint16_t);
  const auto* context = static_cast<const int32_t*>(rows.context_lens.const_data_ptr());
  const auto work_of = [&](int64_t row) { return flops / FLOPS_A_BYTE + context[row] * bytes_a_token; };
  return balanced_borders(rows.context_lens.size(0), parts, work_of);
}

Tensor run_in_parts(const Model& model, const Tensor& hidden, const StepRows& rows, int64_t parts) {
  const std::vector<int64_t> borders = borders_of(model, rows, parts);
  Tensor out = torch::stable::empty_like(hidden);
  std::vector<Gate> gates(parts);
  torch::stable::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      const int64_t begin = borders[part], count = borders[part + 1] - begin;
      const OpenAtTheEnd opens{gates[part]};
      if (count == 0) continue;
      const Tensor own = torch::stable::narrow(const_cast<Tensor&>(hidden), 0, begin, count);
      const Tensor done = run_rows(model, own, part_of(rows, begin, count), part % 2 == 1 ? &gates[part - 1] : nullptr, gates[part]);
      const int64_t row_bytes = hidden.size(1) * sizeof(uint16_t);
      std::memcpy(static_cast<char*>(out.mutable_data_ptr()) + begin * row_bytes, done.const_data_ptr(), count * row_bytes);
    }
  });
  return out;
}

#endif

// Hidden [T, E] bfloat16 to the same, through all layers; caches, one a layer, are changed in place.
// `weights`: of each layer input_norm, qkv, q_norm, k_norm, o, post_norm, gate_up and down.
Tensor decoder_layers(const Tensor& hidden, const Tensors& weights, Tensors k_caches, Tensors v_caches, const Tensor& cos, const Tensor& sin,
                      const Tensor& slots, const Tensor& query_start, const Tensor& context_lens, const Tensor& block_tables, int64_t heads,
                      int64_t intermediate_size, double eps, bool is_decode) {
  check(!k_caches.empty() && v_caches.size() == k_caches.size() && weights.size() == k_caches.size() * WEIGHTS_A_LAYER,
        "decoder_layers: every layer has a cache and eight weights");
  const int64_t tokens = hidden.size(0), dim = k_caches[0].size(3);
  check(layers_available(hidden.size(1), intermediate_size, dim), "decoder_layers: this build does not know such layers");
  const auto is_bfloat16 = [](const Tensor& t) { return t.scalar_type() == ScalarType::BFloat16 && t.is_contiguous(); };
  for (size_t i = 0; i < k_caches.size(); ++i) {
    check(is_bfloat16(k_caches[i]) && is_bfloat16(v_caches[i]), "decoder_layers: caches must be contiguous bfloat16");
    for (size_t norm : {0, 2, 3, 5})
      check(is_bfloat16(weights[i * WEIGHTS_A_LAYER + norm]), "decoder_layers: norms must be contiguous bfloat16");
  }
  check(is_bfloat16(hidden), "decoder_layers: hidden states must be contiguous bfloat16");
  for (const Tensor* t : {&cos, &sin})
    check(t->scalar_type() == ScalarType::Float && t->is_contiguous() && t->size(0) == tokens && t->size(1) * 2 == dim, "decoder_layers: cos and sin must be contiguous float32 [T, D / 2]");
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == tokens, "decoder_layers: one int64 slot a token");
  check(context_lens.scalar_type() == ScalarType::Int && context_lens.is_contiguous() && context_lens.size(0) == block_tables.size(0), "decoder_layers: one int32 length a block table");
  check(!is_decode || context_lens.size(0) == tokens, "decoder_layers: a decode step has one token a sequence");
#if QWEN_BATCH_HAS_AVX512_BF16
  const Model model{weights, k_caches, v_caches, {heads, intermediate_size, eps, is_decode}};
  const StepRows rows{cos, sin, slots, query_start, context_lens, block_tables};
  const int64_t parts = num_parts(model, hidden);
  if (parts > 1) return run_in_parts(model, hidden, rows, parts);
  Gate nobody_waits;
  return run_rows(model, hidden, rows, nullptr, nobody_waits);
#else
  return hidden;
#endif
}

}  // namespace
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("layers_available(int hidden_size, int intermediate_size, int dim) -> bool");
  m.def("decoder_layers(Tensor hidden, Tensor[] weights, Tensor(a!)[] k_caches, Tensor(b!)[] v_caches, Tensor cos, Tensor sin, Tensor slots, "
        "Tensor query_start, Tensor context_lens, Tensor block_tables, int heads, int intermediate_size, float eps, bool is_decode) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("layers_available", TORCH_BOX(&qwen_batch::layers_available));
  m.impl("decoder_layers", TORCH_BOX(&qwen_batch::decoder_layers));
}
