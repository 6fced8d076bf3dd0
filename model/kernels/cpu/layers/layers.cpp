// The operator that runs all decoder layers of a step in one call, in bfloat16: checks its tensors and reads them.
// layer_steps.cpp runs the layers.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "check.h"
#include "prepared_layers.h"
#include "rows.h"

using torch::headeronly::ScalarType;

namespace qwen_batch {
namespace layers_detail {
namespace {

// A step's indices. The first `decoding` sequences decode, with one token each; the others are prompts.
struct Indices {
  const Tensor &query_start, &context_lens, &page_tables;
  int64_t decoding;
  int64_t num_pages;  // pages of the cache that `page_tables` refers to

  int64_t sequences() const { return context_lens.size(0); }
};

void check_tensors(const Tensor& hidden, const PreparedLayers& layers, const Tensors& caches) {
  const auto is_bfloat16 = [](const Tensor& t) { return t.scalar_type() == ScalarType::BFloat16 && t.is_contiguous(); };
  check(is_bfloat16(hidden) && hidden.dim() == 2 && hidden.size(1) == layers.sizes.hidden,
        "decoder_layers: hidden states must be contiguous bfloat16 [T, hidden size]");
  check(caches.size() == layers.weights.size(), "decoder_layers: every layer has a cache");
  for (const Tensor& cache : caches)
    check(is_bfloat16(cache) && CachePages::is_cache(cache) && cache.sizes().equals(caches[0].sizes()),
          "decoder_layers: caches [pages, 2, kv heads, page size, dim] must be contiguous bfloat16, all of one shape");
  const CachePages pages = CachePages::of(caches[0]);
  check(pages.heads == layers.sizes.kv_heads && pages.dim == layers.sizes.dim && pages.page_size % BLOCK == 0,
        "decoder_layers: the caches belong to a model of other sizes");
}

void check_indices(const Indices& indices, int64_t tokens) {
  for (const Tensor* t : {&indices.query_start, &indices.context_lens, &indices.page_tables})
    check(t->scalar_type() == ScalarType::Int && t->is_contiguous(),
          "decoder_layers: query starts, context lengths and page tables must be contiguous int32");
  check(indices.sequences() == indices.page_tables.size(0),
        "decoder_layers: context_lens and page_tables must have one entry per sequence");
  check(indices.query_start.size(0) == indices.sequences() + 1,
        "decoder_layers: query_start must have one entry per sequence, and one for the end");
  check(0 <= indices.decoding && indices.decoding <= indices.sequences() && indices.decoding <= tokens,
        "decoder_layers: decoding must be between 0 and the number of sequences");
}

// Memory for the intermediate results of a step's rows.
class Buffers {
 public:
  Buffers(const Model& model, int64_t rows)
      : normed_(bfloat16(rows, model.sizes.hidden)),
        wide_(bfloat16(rows, model.sizes.wide())),
        queries_(bfloat16(rows, model.sizes.heads * model.sizes.dim)),
        narrow_(bfloat16(rows, model.sizes.narrow())),
        projected_(bfloat16(rows, model.sizes.hidden)),
        scratch_(model.max_scratch(rows)) {
    if (model.sizes.experts > 0) experts_.emplace(model.sizes.expert_sizes(), model.layers[0].mlps[0], rows);
  }

  // Returns `rows` with these buffers.
  LayerRows assigned_to(LayerRows rows) {
    rows.normed = data_of<uint16_t>(normed_);
    rows.wide = data_of<uint16_t>(wide_);
    rows.queries = data_of<uint16_t>(queries_);
    rows.narrow = data_of<uint16_t>(narrow_);
    rows.projected = data_of<uint16_t>(projected_);
    rows.scratch = scratch_.data();
    rows.experts = experts_ ? &*experts_ : nullptr;
    return rows;
  }

 private:
  static Tensor bfloat16(int64_t rows, int64_t columns) {
    return torch::stable::empty({rows, columns}, ScalarType::BFloat16);
  }

  const Tensor normed_, wide_, queries_, narrow_, projected_;
  const Scratch scratch_;
  std::optional<ExpertMemory> experts_;
};

float attention_scale(const LayerSizes& sizes) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.dim)));
}

DecodeBatch decode_batch(const Indices& indices, const LayerSizes& sizes) {
  return {
      .context = data_of<int32_t>(indices.context_lens),
      .pages = data_of<int32_t>(indices.page_tables),
      .sequences = indices.decoding,
      .query_heads = sizes.heads,
      .heads = sizes.kv_heads,
      .dim = sizes.dim,
      .page_size = sizes.page_size,
      .width = indices.page_tables.size(1),
      .scale = attention_scale(sizes),
  };
}

// Returns the first row of each prompt, and the end of the last one, counted from the first prompt's first row.
std::vector<int32_t> prompt_starts(const Indices& indices) {
  const auto* start = data_of<int32_t>(indices.query_start);
  std::vector<int32_t> starts;
  for (int64_t s = indices.decoding; s <= indices.sequences(); ++s)
    starts.push_back(start[s] - static_cast<int32_t>(indices.decoding));
  return starts;
}

// `starts`: from `prompt_starts`. The batch points to them.
PrefillBatch prefill_batch(const Indices& indices, const LayerSizes& sizes, const std::vector<int32_t>& starts) {
  const int64_t width = indices.page_tables.size(1);
  return {
      .query_start = starts.data(),
      .context = data_of<int32_t>(indices.context_lens) + indices.decoding,
      .tables = data_of<int32_t>(indices.page_tables) + indices.decoding * width,
      .sequences = indices.sequences() - indices.decoding,
      .query_heads = sizes.heads,
      .heads = sizes.kv_heads,
      .dim = sizes.dim,
      .page_size = sizes.page_size,
      .width = width,
      .scale = attention_scale(sizes),
  };
}

// `input`: complete but for the buffers. `last`: where the hidden states of the last rows go, if only they are wanted;
// otherwise nullptr.
void run(const Model& model, const LayerRows& input, const Indices& indices, uint16_t* last) {
  const LayerSizes& sizes = model.sizes;
  for (int64_t i = 0; i < input.count; ++i)
    check(input.slots[i] >= 0 && input.slots[i] < indices.num_pages * sizes.page_size,
          "decoder_layers: a slot is outside the cache");
  Buffers buffers(model, input.count);
  const std::vector<int32_t> starts = prompt_starts(indices);
  StepRows step{
      .rows = buffers.assigned_to(input),
      .decode = decode_batch(indices, sizes),
      .prefill = prefill_batch(indices, sizes, starts),
  };
  step.decode.check_bounds(indices.num_pages);
  step.prefill.check_bounds(input.count - indices.decoding, indices.num_pages);
  if (last == nullptr) return run_step(model, step);
  for (size_t s = 1; s < starts.size(); ++s)
    check(starts[s - 1] < starts[s], "decoder_layers: a sequence without tokens has no last token");
  const Tensor last_queries =
      torch::stable::empty({indices.sequences(), sizes.heads * sizes.dim}, ScalarType::BFloat16);
  step.last = step.rows;  // shares its other buffers with `step.rows`, which no longer needs them by then
  step.last->count = indices.sequences();
  step.last->hidden = last;
  step.last->queries = data_of<uint16_t>(last_queries);
  run_step(model, step);
}

// Takes hidden states [T, E] in bfloat16 through all layers. Returns [T, E], or with `last_only` [sequences, E]: the
// hidden state of each sequence's last token in the step.
// `layers`: a handle from `prepare_layers`. `caches`: one per layer, changed in place.
// `decoding`: number of sequences that decode. They come first and have one token each; the others are prompts, or the
// next chunks of prompts.
Tensor decoder_layers(const Tensor& hidden, int64_t layers, Tensors caches, const Tensor& cos, const Tensor& sin,
                      const Tensor& slots, const Tensor& query_start, const Tensor& context_lens,
                      const Tensor& page_tables, int64_t decoding, bool last_only) {
  const std::shared_ptr<const PreparedLayers> prepared = prepared_layers(layers);
  check_tensors(hidden, *prepared, caches);
  LayerSizes sizes = prepared->sizes;
  sizes.page_size = CachePages::of(caches[0]).page_size;
  const int64_t tokens = hidden.size(0);
  for (const Tensor* t : {&cos, &sin})
    check(t->scalar_type() == ScalarType::Float && t->is_contiguous() && t->size(0) == tokens &&
              t->size(1) * 2 == sizes.dim,
          "decoder_layers: cos and sin must be contiguous float32 [T, D / 2]");
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == tokens,
        "decoder_layers: slots must be contiguous int64, one per token");
  const Indices indices{
      .query_start = query_start,
      .context_lens = context_lens,
      .page_tables = page_tables,
      .decoding = decoding,
      .num_pages = caches[0].size(0),
  };
  check_indices(indices, tokens);
  Tensor all = torch::stable::empty_like(hidden);
  if (indices.sequences() == tokens) last_only = false;  // every token is a last one
  Tensor last = torch::stable::empty({last_only ? indices.sequences() : 0, sizes.hidden}, ScalarType::BFloat16);
  std::memcpy(data_of<uint16_t>(all), hidden.const_data_ptr(), tokens * sizes.hidden * sizeof(uint16_t));
  const LayerRows rows{
      .count = tokens,
      .cos = data_of<float>(cos),
      .sin = data_of<float>(sin),
      .slots = data_of<int64_t>(slots),
      .hidden = data_of<uint16_t>(all),
  };
  Model model{sizes, prepared->weights, {}};
  for (const Tensor& cache : caches) model.caches.push_back(data_of<uint16_t>(cache));
  run(model, rows, indices, last_only ? data_of<uint16_t>(last) : nullptr);
  return last_only ? last : all;
}

}  // namespace
}  // namespace layers_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def(
      "decoder_layers(Tensor hidden, int layers, Tensor(a!)[] caches, Tensor cos, Tensor sin, Tensor slots, Tensor "
      "query_start, Tensor context_lens, Tensor page_tables, int decoding, bool last_only) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("decoder_layers", TORCH_BOX(&qwen_batch::layers_detail::decoder_layers));
}
