// All decoder layers of a step in one call and one parallel region, in bfloat16.
//
// Products are bound by arithmetic and attention by memory: one after the other, each leaves the other's means idle. So a decode
// step of many sequences goes through the layers in two halves, one of which attends beside the products of the other
// (beside.h). (Zhu et al., arXiv 2408.12757, overlap parts of a batch on a GPU.)

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <vector>

#include "kernels.h"
#include "layer.h"
#include "prefill_attention.h"
#include "rows.h"

using torch::headeronly::ScalarType;

namespace qwen_batch {
namespace {

using Tensors = std::vector<Tensor>;

constexpr size_t WEIGHTS_A_LAYER = 8;
constexpr int64_t ROWS_A_THREAD = 24;  // from here on half of them keep a thread multiplying longer than it reads the weights

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

// Whether layers of these sizes can run here. Their weights must be packed for the kernels of this folder, and pages be multiples of BLOCK.
bool layers_available(int64_t hidden_size, int64_t intermediate_size, int64_t dim) {
#if QWEN_BATCH_HAS_AVX512_BF16
  return hidden_size % LANES == 0 && intermediate_size % LANES == 0 && dim % (2 * LANES) == 0 && prefill_attention_available(dim, BLOCK) &&
         attention_is_enabled();
#else
  return false;
#endif
}

#if QWEN_BATCH_HAS_AVX512_BF16

template <typename T>
T* data_of(const Tensor& tensor) {
  return static_cast<T*>(const_cast<void*>(tensor.const_data_ptr()));
}

struct Model {
  Model(const Tensors& tensors, const Tensors& keys, const Tensors& values, const LayerSizes& sizes) : sizes(sizes) {
    for (size_t i = 0; i < keys.size(); ++i) {
      const Tensor* of = &tensors[i * WEIGHTS_A_LAYER];
      const int64_t attended = sizes.heads * sizes.dim;
      layers.push_back({data_of<uint16_t>(of[0]), data_of<uint16_t>(of[2]), data_of<uint16_t>(of[3]), data_of<uint16_t>(of[5]),
                        PackedWeight::of(of[1], sizes.qkv(), sizes.hidden), PackedWeight::of(of[4], sizes.hidden, attended),
                        PackedWeight::of(of[6], 2 * sizes.intermediate, sizes.hidden), PackedWeight::of(of[7], sizes.hidden, sizes.intermediate)});
      k_caches.push_back(data_of<uint16_t>(keys[i]));
      v_caches.push_back(data_of<uint16_t>(values[i]));
    }
  }

  int64_t num_layers() const { return static_cast<int64_t>(layers.size()); }

  int64_t most_scratch(int64_t rows) const {
    const LayerWeights& first = layers[0];
    int64_t most = 0;
    for (const PackedWeight* weight : {&first.qkv, &first.o, &first.gate_up, &first.down}) most = std::max(most, scratch_bytes(*weight, rows));
    return most;
  }

  const LayerSizes sizes;
  std::vector<LayerWeights> layers;
  std::vector<uint16_t*> k_caches, v_caches;
};

// Rows from the attention of layer `attended`, or from the beginning if that is -1, to the next one, or to the end.
void advance(const Member& member, const Model& model, const LayerRows& rows, int64_t attended, Beside* beside) {
  const int64_t next = attended + 1;
  if (attended >= 0) finish(member, model.layers[attended], model.sizes, rows, beside);
  if (next < model.num_layers()) project(member, model.layers[next], model.sizes, rows, model.k_caches[next], model.v_caches[next], beside);
}

// Of the weights that `advance` multiplies with.
int64_t bytes_to_advance(const Model& model, int64_t attended) {
  int64_t bytes = 0;
  if (attended >= 0) bytes += model.layers[attended].o.bytes + model.layers[attended].gate_up.bytes + model.layers[attended].down.bytes;
  if (attended + 1 < model.num_layers()) bytes += model.layers[attended + 1].qkv.bytes;
  return bytes;
}

// A step without the layers' caches: those of one layer come when it is run.
template <typename Step>
Step at_layer(Step step, const Model& model, int64_t layer) {
  step.keys = model.k_caches[layer];
  step.values = model.v_caches[layer];
  return step;
}

// A decode step's rows with their sequences.
class DecodeRows {
 public:
  DecodeRows(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& step, int64_t begin, int64_t count)
      : model_(model), rows_(rows.part(begin, count, model.sizes)), step_(step), borders_() {
    step_.sequences = count;
    step_.context += begin;
    step_.pages += begin * step.width;
    step_.queries = rows_.queries;
    step_.out = rows_.narrow;
    borders_ = step_.borders(torch::stable::get_num_threads());
  }

  const LayerRows& rows() const { return rows_; }

  void attend(const Member& member, int64_t layer) const {
    for (AttentionShare<uint16_t> share(at_layer(step_, model_, layer), borders_[member.first], borders_[member.last]); !share.done();) share.block();
  }

  // The member's share, to be done while all multiply with `bytes` of weights.
  Beside attention(const Member& member, int64_t layer, int64_t bytes) const {
    return {at_layer(step_, model_, layer), borders_[member.first], borders_[member.last], bytes * (member.last - member.first) / member.team.parts()};
  }

 private:
  const Model& model_;
  const LayerRows rows_;
  DecodeStep<uint16_t> step_;
  std::vector<int64_t> borders_;
};

void run_in_halves(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& step) {
  const int64_t middle = (rows.count + 1) / 2;
  const DecodeRows halves[] = {{model, rows, step, 0, middle}, {model, rows, step, middle, rows.count - middle}};
  as_team([&](const Member& member) {
    advance(member, model, halves[0].rows(), -1, nullptr);
    for (int64_t layer = 0; layer < model.num_layers(); ++layer)
      for (int half = 0; half < 2; ++half) {
        const int64_t attended = half == 0 ? layer - 1 : layer;  // the other half's last
        Beside attention = halves[half].attention(member, layer, bytes_to_advance(model, attended));
        advance(member, model, halves[1 - half].rows(), attended, &attention);
        attention.finish();
        member.wait();
      }
    advance(member, model, halves[1].rows(), model.num_layers() - 1, nullptr);
  });
}

// `attend(member, layer)`: the attention of all rows.
template <typename Attend>
void run_whole(const Model& model, const LayerRows& rows, const Attend& attend) {
  as_team([&](const Member& member) {
    advance(member, model, rows, -1, nullptr);
    for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
      attend(member, layer);
      member.wait();
      advance(member, model, rows, layer, nullptr);
    }
  });
}

// Whether a step's weights are better read twice, so that its attention is done beside products.
bool halves_pay(const Model& model, int64_t rows) {
  return bound_by_arithmetic(model.layers[0].qkv) && rows >= torch::stable::get_num_threads() * ROWS_A_THREAD &&
         attends_by_vectors<uint16_t>(model.sizes.dim, model.sizes.page_size);
}

void run(const Model& model, const LayerRows& rows, const Tensor& query_start, const Tensor& context_lens, const Tensor& block_tables, int64_t pages, bool is_decode) {
  const LayerSizes& sizes = model.sizes;
  const auto *context = data_of<int32_t>(context_lens), *tables = data_of<int32_t>(block_tables);
  const int64_t sequences = context_lens.size(0), width = block_tables.size(1);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.dim)));
  if (is_decode) {
    const DecodeStep<uint16_t> step{nullptr, nullptr, nullptr, nullptr, context, tables, sequences, sizes.heads, sizes.kv_heads, sizes.dim, sizes.page_size, width, scale};
    step.check(pages);
    if (halves_pay(model, rows.count)) return run_in_halves(model, rows, step);
    const DecodeRows all(model, rows, step, 0, rows.count);
    run_whole(model, rows, [&](const Member& member, int64_t layer) { all.attend(member, layer); });
  } else {
    const PrefillStep step{rows.queries, nullptr, nullptr, rows.narrow, data_of<int32_t>(query_start), context, tables, sequences,
                           sizes.heads, sizes.kv_heads, sizes.dim, sizes.page_size, width, scale};
    step.check(rows.count, pages);
    PrefillPlan plan(step);
    run_whole(model, rows, [&](const Member& member, int64_t layer) { plan.attend(member, at_layer(step, model, layer)); });
  }
}

#endif

void check_tensors(const Tensor& hidden, const Tensors& weights, const Tensors& k_caches, const Tensors& v_caches) {
  check(!k_caches.empty() && v_caches.size() == k_caches.size() && weights.size() == k_caches.size() * WEIGHTS_A_LAYER,
        "decoder_layers: every layer has a cache and eight weights");
  const auto is_bfloat16 = [](const Tensor& t) { return t.scalar_type() == ScalarType::BFloat16 && t.is_contiguous(); };
  check(is_bfloat16(hidden), "decoder_layers: hidden states must be contiguous bfloat16");
  for (size_t i = 0; i < k_caches.size(); ++i) {
    for (const Tensor* cache : {&k_caches[i], &v_caches[i]})
      check(is_bfloat16(*cache) && cache->sizes().equals(k_caches[0].sizes()), "decoder_layers: caches must be contiguous bfloat16, all of one shape");
    for (size_t norm : {0, 2, 3, 5})
      check(is_bfloat16(weights[i * WEIGHTS_A_LAYER + norm]), "decoder_layers: norms must be contiguous bfloat16");
  }
}

void check_products(const Tensors& weights, const LayerSizes& sizes) {
  for (size_t i = 0; i < weights.size(); i += WEIGHTS_A_LAYER)
    check(PackedWeight::fits(weights[i + 1], sizes.qkv(), sizes.hidden) && PackedWeight::fits(weights[i + 4], sizes.hidden, sizes.heads * sizes.dim) &&
              PackedWeight::fits(weights[i + 6], 2 * sizes.intermediate, sizes.hidden) && PackedWeight::fits(weights[i + 7], sizes.hidden, sizes.intermediate),
          "decoder_layers: a packed weight has another shape");
}

// Hidden [T, E] bfloat16 to the same, through all layers; caches, one a layer, are changed in place.
// `weights`: of each layer input_norm, qkv, q_norm, k_norm, o, post_norm, gate_up and down.
Tensor decoder_layers(const Tensor& hidden, const Tensors& weights, Tensors k_caches, Tensors v_caches, const Tensor& cos, const Tensor& sin,
                      const Tensor& slots, const Tensor& query_start, const Tensor& context_lens, const Tensor& block_tables, int64_t heads,
                      int64_t intermediate_size, double eps, bool is_decode) {
  check_tensors(hidden, weights, k_caches, v_caches);
  const Tensor& cache = k_caches[0];
  const int64_t tokens = hidden.size(0);
  const LayerSizes sizes{hidden.size(1), heads, cache.size(1), cache.size(3), intermediate_size, cache.size(2), static_cast<float>(eps)};
  check(layers_available(sizes.hidden, sizes.intermediate, sizes.dim) && sizes.page_size % BLOCK == 0, "decoder_layers: this build does not know such layers");
  check_products(weights, sizes);
  for (const Tensor* t : {&cos, &sin})
    check(t->scalar_type() == ScalarType::Float && t->is_contiguous() && t->size(0) == tokens && t->size(1) * 2 == sizes.dim, "decoder_layers: cos and sin must be contiguous float32 [T, D / 2]");
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == tokens, "decoder_layers: one int64 slot a token");
  for (const Tensor* t : {&query_start, &context_lens, &block_tables})
    check(t->scalar_type() == ScalarType::Int && t->is_contiguous(), "decoder_layers: query starts, context lengths and block tables must be contiguous int32");
  check(context_lens.size(0) == block_tables.size(0), "decoder_layers: one length a block table");
  check(is_decode ? context_lens.size(0) == tokens : query_start.size(0) == context_lens.size(0) + 1, "decoder_layers: a decode step has one token a sequence, another one a start a sequence and an end");
  Tensor out = torch::stable::empty_like(hidden);
#if QWEN_BATCH_HAS_AVX512_BF16
  for (int64_t t = 0; t < tokens; ++t)
    check(data_of<int64_t>(slots)[t] >= 0 && data_of<int64_t>(slots)[t] < cache.size(0) * sizes.page_size, "decoder_layers: a slot is outside the cache");
  const Model model(weights, k_caches, v_caches, sizes);
  const auto values = [&](int64_t columns) { return torch::stable::empty({tokens, columns}, ScalarType::BFloat16); };
  const Tensor normed = values(sizes.hidden), wide = values(sizes.wide()), queries = values(heads * sizes.dim), narrow = values(sizes.narrow()), projected = values(sizes.hidden);
  Scratch scratch(model.most_scratch(tokens));
  std::memcpy(data_of<uint16_t>(out), data_of<uint16_t>(hidden), tokens * sizes.hidden * sizeof(uint16_t));
  const LayerRows rows{tokens, data_of<float>(cos), data_of<float>(sin), data_of<int64_t>(slots), data_of<uint16_t>(out), data_of<uint16_t>(normed),
                       data_of<uint16_t>(wide), data_of<uint16_t>(queries), data_of<uint16_t>(narrow), data_of<uint16_t>(projected), scratch.data()};
  run(model, rows, query_start, context_lens, block_tables, cache.size(0), is_decode);
#endif
  return out;
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
