// The operator that runs all decoder layers of a step in one call, in bfloat16: checks its tensors and reads them.
// layer_steps.cpp runs the layers.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "kernels.h"
#include "layer_steps.h"
#include "rows.h"

using torch::headeronly::ScalarType;

namespace qwen_batch {
namespace layers_detail {
namespace {

using Tensors = std::vector<Tensor>;

// The order of a layer's weights in the list that Python passes.
struct WeightIndex {
  enum : size_t { INPUT_NORM, QKV, Q_NORM, K_NORM, O, POST_NORM, GATE_UP, DOWN, COUNT };
};

constexpr size_t WEIGHTS_PER_LAYER = WeightIndex::COUNT;

// Returns whether layers of these sizes can run here. The caller must also ensure two conditions: the weights are
// packed for these kernels, and the page size is a multiple of BLOCK.
bool layers_available(int64_t hidden_size, int64_t intermediate_size, int64_t dim) {
#if QWEN_BATCH_HAS_AVX512
  return hidden_size % LANES == 0 && intermediate_size % LANES == 0 && dim % (2 * LANES) == 0 &&
         prefill_attention_available(dim, BLOCK) && attention_is_enabled();
#else
  return false;
#endif
}

template <typename T>
T* data_of(const Tensor& tensor) {
  return static_cast<T*>(const_cast<void*>(tensor.const_data_ptr()));
}

void check_tensors(const Tensor& hidden, const Tensors& weights, const Tensors& caches) {
  check(!caches.empty() && weights.size() == caches.size() * WEIGHTS_PER_LAYER,
        "decoder_layers: every layer has a cache and eight weights");
  const auto is_bfloat16 = [](const Tensor& t) { return t.scalar_type() == ScalarType::BFloat16 && t.is_contiguous(); };
  check(is_bfloat16(hidden), "decoder_layers: hidden states must be contiguous bfloat16");
  for (size_t i = 0; i < caches.size(); ++i) {
    check(is_bfloat16(caches[i]) && CachePages::is_cache(caches[i]) && caches[i].sizes().equals(caches[0].sizes()),
          "decoder_layers: caches [pages, 2, kv heads, page size, dim] must be contiguous bfloat16, all of one shape");
    for (size_t norm : {WeightIndex::INPUT_NORM, WeightIndex::Q_NORM, WeightIndex::K_NORM, WeightIndex::POST_NORM})
      check(is_bfloat16(weights[i * WEIGHTS_PER_LAYER + norm]), "decoder_layers: norms must be contiguous bfloat16");
  }
}

void check_products(const Tensors& weights, const LayerSizes& sizes) {
  for (size_t i = 0; i < weights.size(); i += WEIGHTS_PER_LAYER)
    check(PackedWeight::fits(weights[i + WeightIndex::QKV], sizes.qkv(), sizes.hidden) &&
              PackedWeight::fits(weights[i + WeightIndex::O], sizes.hidden, sizes.heads * sizes.dim) &&
              PackedWeight::fits(weights[i + WeightIndex::GATE_UP], 2 * sizes.intermediate, sizes.hidden) &&
              PackedWeight::fits(weights[i + WeightIndex::DOWN], sizes.hidden, sizes.intermediate),
          "decoder_layers: a packed weight has another shape");
}

#if QWEN_BATCH_HAS_AVX512

Model model_of(const Tensors& weights, const Tensors& caches, const LayerSizes& sizes) {
  Model model{sizes};
  for (size_t i = 0; i < caches.size(); ++i) {
    const Tensor* of = &weights[i * WEIGHTS_PER_LAYER];
    model.layers.push_back({
        .input_norm = data_of<uint16_t>(of[WeightIndex::INPUT_NORM]),
        .q_norm = data_of<uint16_t>(of[WeightIndex::Q_NORM]),
        .k_norm = data_of<uint16_t>(of[WeightIndex::K_NORM]),
        .post_norm = data_of<uint16_t>(of[WeightIndex::POST_NORM]),
        .qkv = PackedWeight::of(of[WeightIndex::QKV], sizes.qkv(), sizes.hidden),
        .o = PackedWeight::of(of[WeightIndex::O], sizes.hidden, sizes.heads * sizes.dim),
        .gate_up = PackedWeight::of(of[WeightIndex::GATE_UP], 2 * sizes.intermediate, sizes.hidden),
        .down = PackedWeight::of(of[WeightIndex::DOWN], sizes.hidden, sizes.intermediate),
    });
    model.caches.push_back(data_of<uint16_t>(caches[i]));
  }
  return model;
}

// A step's indices, and the number of pages in the cache that they refer to.
struct Indices {
  const Tensor &query_start, &context_lens, &page_tables;
  int64_t pages;
};

// `rows`: complete but for the buffers. `last`: where the hidden states of the last rows go, if only they are wanted;
// otherwise nullptr.
void run(const Model& model, LayerRows rows, const Indices& indices, int64_t decoding, uint16_t* last) {
  const LayerSizes& sizes = model.sizes;
  const auto values = [&](int64_t columns) {
    return torch::stable::empty({rows.count, columns}, ScalarType::BFloat16);
  };
  const Tensor normed = values(sizes.hidden), wide = values(sizes.wide()), queries = values(sizes.heads * sizes.dim),
               narrow = values(sizes.narrow()), projected = values(sizes.hidden);
  Scratch scratch(model.max_scratch(rows.count));
  rows.normed = data_of<uint16_t>(normed);
  rows.wide = data_of<uint16_t>(wide);
  rows.queries = data_of<uint16_t>(queries);
  rows.narrow = data_of<uint16_t>(narrow);
  rows.projected = data_of<uint16_t>(projected);
  rows.scratch = scratch.data();
  for (int64_t i = 0; i < rows.count; ++i)
    check(rows.slots[i] >= 0 && rows.slots[i] < indices.pages * sizes.page_size,
          "decoder_layers: a slot is outside the cache");
  const auto *context = data_of<int32_t>(indices.context_lens), *tables = data_of<int32_t>(indices.page_tables),
             *start = data_of<int32_t>(indices.query_start);
  const int64_t prompts = indices.context_lens.size(0) - decoding, width = indices.page_tables.size(1);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.dim)));
  const DecodeBatch decode{
      .context = context,
      .pages = tables,
      .sequences = decoding,
      .query_heads = sizes.heads,
      .heads = sizes.kv_heads,
      .dim = sizes.dim,
      .page_size = sizes.page_size,
      .width = width,
      .scale = scale,
  };
  decode.check_bounds(indices.pages);
  std::vector<int32_t> starts;
  for (int64_t s = decoding; s <= decoding + prompts; ++s) starts.push_back(start[s] - static_cast<int32_t>(decoding));
  const PrefillBatch prefill{
      .query_start = starts.data(),
      .context = context + decoding,
      .tables = tables + decoding * width,
      .sequences = prompts,
      .query_heads = sizes.heads,
      .heads = sizes.kv_heads,
      .dim = sizes.dim,
      .page_size = sizes.page_size,
      .width = width,
      .scale = scale,
  };
  prefill.check_bounds(rows.count - decoding, indices.pages);
  StepRows step{.rows = rows, .decode = decode, .prefill = prefill};
  if (last == nullptr) return run_step(model, step);
  for (int64_t s = 0; s < prompts; ++s)
    check(starts[s] < starts[s + 1], "decoder_layers: a sequence without tokens has no last token");
  const Tensor last_queries = torch::stable::empty({decoding + prompts, sizes.heads * sizes.dim}, ScalarType::BFloat16);
  step.last = rows;  // shares its other buffers with `rows`, which no longer needs them by then
  step.last->count = decoding + prompts;
  step.last->hidden = last;
  step.last->queries = data_of<uint16_t>(last_queries);
  run_step(model, step);
}

#endif

// Takes hidden states [T, E] in bfloat16 through all layers. Returns [T, E], or with `last_only` [sequences, E]: the
// hidden state of each sequence's last token in the step.
// `weights`: per layer, in the order of WeightIndex. `caches`: one per layer, changed in place.
// `decoding`: number of sequences that decode. They come first and have one token each; the others are prompts, or the
// next chunks of prompts.
Tensor decoder_layers(const Tensor& hidden, const Tensors& weights, Tensors caches, const Tensor& cos,
                      const Tensor& sin, const Tensor& slots, const Tensor& query_start, const Tensor& context_lens,
                      const Tensor& page_tables, int64_t heads, int64_t intermediate_size, double eps, int64_t decoding,
                      bool last_only) {
  check_tensors(hidden, weights, caches);
  const CachePages pages = CachePages::of(caches[0]);
  const int64_t tokens = hidden.size(0);
  const LayerSizes sizes{
      .hidden = hidden.size(1),
      .heads = heads,
      .kv_heads = pages.heads,
      .dim = pages.dim,
      .intermediate = intermediate_size,
      .page_size = pages.page_size,
      .eps = static_cast<float>(eps),
  };
  check(layers_available(sizes.hidden, sizes.intermediate, sizes.dim) && sizes.page_size % BLOCK == 0,
        "decoder_layers: this build does not support layers of these sizes");
  check_products(weights, sizes);
  for (const Tensor* t : {&cos, &sin})
    check(t->scalar_type() == ScalarType::Float && t->is_contiguous() && t->size(0) == tokens &&
              t->size(1) * 2 == sizes.dim,
          "decoder_layers: cos and sin must be contiguous float32 [T, D / 2]");
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == tokens,
        "decoder_layers: slots must be contiguous int64, one per token");
  for (const Tensor* t : {&query_start, &context_lens, &page_tables})
    check(t->scalar_type() == ScalarType::Int && t->is_contiguous(),
          "decoder_layers: query starts, context lengths and page tables must be contiguous int32");
  check(context_lens.size(0) == page_tables.size(0),
        "decoder_layers: context_lens and page_tables must have one entry per sequence");
  check(query_start.size(0) == context_lens.size(0) + 1,
        "decoder_layers: query_start must have one entry per sequence, and one for the end");
  check(0 <= decoding && decoding <= context_lens.size(0) && decoding <= tokens,
        "decoder_layers: decoding must be between 0 and the number of sequences");
  Tensor all = torch::stable::empty_like(hidden);
  if (context_lens.size(0) == tokens) last_only = false;  // every token is a last one
  Tensor last = torch::stable::empty({last_only ? context_lens.size(0) : 0, sizes.hidden}, ScalarType::BFloat16);
#if QWEN_BATCH_HAS_AVX512
  std::memcpy(data_of<uint16_t>(all), hidden.const_data_ptr(), tokens * sizes.hidden * sizeof(uint16_t));
  LayerRows rows{
      .count = tokens,
      .cos = data_of<float>(cos),
      .sin = data_of<float>(sin),
      .slots = data_of<int64_t>(slots),
      .hidden = data_of<uint16_t>(all),
  };
  const Indices indices{
      .query_start = query_start,
      .context_lens = context_lens,
      .page_tables = page_tables,
      .pages = caches[0].size(0),
  };
  run(model_of(weights, caches, sizes), rows, indices, decoding, last_only ? data_of<uint16_t>(last) : nullptr);
#endif
  return last_only ? last : all;
}

}  // namespace
}  // namespace layers_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("layers_available(int hidden_size, int intermediate_size, int dim) -> bool");
  m.def(
      "decoder_layers(Tensor hidden, Tensor[] weights, Tensor(a!)[] caches, Tensor cos, Tensor sin, Tensor slots, "
      "Tensor query_start, Tensor context_lens, Tensor page_tables, int heads, int intermediate_size, float eps, int "
      "decoding, bool last_only) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("layers_available", TORCH_BOX(&qwen_batch::layers_detail::layers_available));
  m.impl("decoder_layers", TORCH_BOX(&qwen_batch::layers_detail::decoder_layers));
}
