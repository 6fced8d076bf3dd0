// Causal attention of the new tokens of several sequences over their pages, in bfloat16.
//
// A block of up to 32 queries of one head meets the keys in blocks of 64 at absolute positions. Some blocks of queries
// do so in lock-step, so that a block of keys is read from memory once for all of them. Each row has its own online
// softmax, and keys beyond a row's position do not change that row. A row's bits therefore depend neither on other rows
// nor on how a prompt is cut into chunks. (Dao et al., arXiv 2205.14135.)

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "block_products.h"
#include "check.h"
#include "kernels.h"
#include "prefill_attention.h"
#include "softmax_rows.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace prefill_attention_detail {
namespace {

constexpr int MAX_DIM = 256;
constexpr int64_t MAX_QUERY_BLOCKS = 4;  // that go through the keys in lock-step

// Packs the keys and values of one kv head into pairs: keys [dim / 2][64][2], values [32][dim][2].
void pack_keys_and_values(const PrefillStep& step, const KeyBlock& block, int64_t head, uint16_t* keys,
                          uint16_t* values) {
  const PrefillBatch& batch = step.batch;
  const int64_t dim = batch.dim;
  const uint16_t* key_rows = step.cache + batch.cache_pages().key_at(block.page * batch.page_size + block.first, head);
  const uint16_t* value_rows = key_rows + batch.cache_pages().values();
  const auto row = [&](const uint16_t* rows, int64_t t, int64_t d) {
    return t < block.count ? load_words(rows + t * dim + d) : splat_word(0);
  };
  for (int64_t t = 0; t < KEY_BLOCK; t += 16)
    for (int64_t d = 0; d < dim; d += 32) {
      Words pairs[16];
      for (int64_t i = 0; i < 16; ++i) pairs[i] = row(key_rows, t + i, d);
      transpose_16(pairs);
      for (int64_t i = 0; i < 16; ++i) store_words(keys + ((d / 2 + i) * KEY_BLOCK + t) * 2, pairs[i]);
    }
  for (int64_t t = 0; t < KEY_BLOCK; t += 2)
    for (int64_t d = 0; d < dim; d += 32) {
      const Words even = row(value_rows, t, d), odd = row(value_rows, t + 1, d);
      store_words(values + t * dim + 2 * d, interleave_low(even, odd));
      store_words(values + t * dim + 2 * d + 32, interleave_high(even, odd));
    }
}

// Up to 32 queries of one head, which attend to all their keys.
class QueryBlock {
 public:
  QueryBlock(const PrefillStep& step, int64_t sequence, int64_t head, int64_t first_row)
      : step_(step), batch_(step.batch) {
    const int64_t begin = batch_.query_start[sequence], new_tokens = batch_.query_start[sequence + 1] - begin;
    rows_ = static_cast<int>(std::min<int64_t>(QUERY_ROWS, new_tokens - first_row));
    position_ = batch_.context[sequence] - new_tokens + first_row;
    origin_ = ((begin + first_row) * batch_.query_heads + head) * batch_.dim;
    std::memset(query_, 0, sizeof query_);
    for (int r = 0; r < rows_; ++r)
      copy_row(query_ + r * batch_.dim, step.q + origin_ + r * batch_.query_heads * batch_.dim, batch_.dim);
    std::fill(sum_v_, sum_v_ + QUERY_ROWS * batch_.dim, 0.0f);
  }

  // Number of blocks of keys that the queries see.
  int64_t key_blocks() const { return (position_ + rows_ + KEY_BLOCK - 1) / KEY_BLOCK; }

  // Attends to block `number` of the sequence, whose packed keys and values are given.
  void attend(int64_t number, const uint16_t* keys, const uint16_t* values) {
    const int visible = static_cast<int>(std::min<int64_t>(KEY_BLOCK, position_ + 1 - number * KEY_BLOCK));
    multiply<false>(query_, static_cast<int>(batch_.dim), keys, KEY_BLOCK, score_, static_cast<int>(batch_.dim / 2));
    softmax_.online_softmax(score_, weight_, rows_, {.first_row = visible, .more_per_row = 1}, batch_.scale * LOG2_E);
    rescale_sums();
    multiply<true>(weight_, KEY_BLOCK, values, static_cast<int>(batch_.dim), sum_v_, KEY_BLOCK / 2);
  }

  void write() const {
    for (int r = 0; r < rows_; ++r) {
      const Floats inverse = splat(1.0f / softmax_.sums()[r]);
      uint16_t* out = step_.out + origin_ + r * batch_.query_heads * batch_.dim;
      for (int64_t d = 0; d < batch_.dim; d += 16) {
        store_halves(out + d, to_bfloat16(load(sum_v_ + r * batch_.dim + d) * inverse));
      }
    }
  }

 private:
  template <bool ADD>
  void multiply(const RowValue* a, int a_stride, const uint16_t* b, int columns, float* out, int pairs) const {
#if QWEN_BATCH_HAS_AMX
    if (amx_granted()) return multiply_tiles<ADD>(a, a_stride, b, columns, out, rows_ > 16 ? 32 : 16, pairs);
#endif
    multiply_vectors<ADD>(a, a_stride, b, columns, out, rows_, pairs);
  }

  void rescale_sums() {
    for (int r = 0; r < rows_; ++r) {
      const float rescale = softmax_.rescale_factors()[r];
      if (rescale == 1.0f) continue;
      float* sums = sum_v_ + r * batch_.dim;
      for (int64_t d = 0; d < batch_.dim; d += 16) store(sums + d, load(sums + d) * splat(rescale));
    }
  }

  const PrefillStep& step_;
  const PrefillBatch& batch_;
  int rows_;
  int64_t position_;  // position of the first row in its sequence, from 0
  int64_t origin_;    // offset of the first row in q and out
  alignas(64) RowValue query_[QUERY_ROWS * MAX_DIM];
  alignas(64) float score_[QUERY_ROWS * KEY_BLOCK];
  alignas(64) RowValue weight_[QUERY_ROWS * KEY_BLOCK] = {};
  alignas(64) float sum_v_[QUERY_ROWS * MAX_DIM];
  SoftmaxRows<QUERY_ROWS, KEY_BLOCK> softmax_;
};

}  // namespace
}  // namespace prefill_attention_detail

void PrefillBatch::check_bounds(int64_t tokens, int64_t pages) const {
  check(query_start[0] == 0 && query_start[sequences] == tokens, "prefill_attention: query_start does not cover q");
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t new_tokens = query_start[s + 1] - query_start[s];
    check(new_tokens >= 0 && new_tokens <= context[s] && context[s] >= 1 && context[s] <= width * page_size,
          "prefill_attention: a context length or a number of new tokens is outside its range");
  }
  check_page_numbers(tables, sequences * width, pages, "prefill_attention: a page number is outside the cache");
}

PrefillPlan::PrefillPlan(const PrefillBatch& batch) {
  find_key_blocks(batch);
  cut_queries(batch);
  const auto count = static_cast<int64_t>(key_blocks_.size());
  packed_ = torch::stable::empty({2, batch.heads * count * batch.dim * KEY_BLOCK + 32}, ScalarType::BFloat16);
}

void PrefillPlan::find_key_blocks(const PrefillBatch& batch) {
  std::map<KeyBlock, int64_t> indices;
  for (int64_t s = 0; s < batch.sequences; ++s) {
    for (int64_t first = 0; first < batch.context[s]; first += KEY_BLOCK) {
      const KeyBlock block{.page = batch.tables[s * batch.width + first / batch.page_size],
                           .first = first % batch.page_size,
                           .count = std::min<int64_t>(KEY_BLOCK, batch.context[s] - first)};
      const auto [found, is_new] = indices.try_emplace(block, static_cast<int64_t>(key_blocks_.size()));
      if (is_new) key_blocks_.push_back(block);
      of_sequences_.push_back(found->second);
    }
    first_block_.push_back(static_cast<int64_t>(of_sequences_.size()));
  }
}

// Queries that read the same keys and values follow each other, because these stay in the cache of the processor for a
// while: first the heads of one kv head, and all sequences for it.
void PrefillPlan::cut_queries(const PrefillBatch& batch) {
  queries_.clear();
  const int64_t group = batch.query_heads / batch.heads;
  for (int64_t first_head = 0; first_head < batch.query_heads; first_head += group)
    for (int64_t s = 0; s < batch.sequences; ++s) {
      const int64_t new_tokens = batch.query_start[s + 1] - batch.query_start[s];
      for (int64_t h = first_head; h < first_head + group; ++h)
        for (int64_t b = (new_tokens + QUERY_ROWS - 1) / QUERY_ROWS - 1; b >= 0; --b)
          queries_.push_back({.sequence = s, .head = h, .block = b});
    }
}

PrefillPlan PrefillPlan::with_queries_of(const PrefillBatch& batch) const {
  PrefillPlan plan = *this;
  plan.cut_queries(batch);
  return plan;
}

void PrefillPlan::attend(const Member& member, const PrefillStep& step) const {
  using namespace prefill_attention_detail;
  const PrefillBatch& batch = step.batch;
  const int64_t block_values = batch.dim * KEY_BLOCK;
  const auto blocks = static_cast<int64_t>(key_blocks_.size());
  auto* keys = static_cast<uint16_t*>(packed_.mutable_data_ptr());
  auto* values = keys + packed_.size(1);
  for (int64_t i = member.begin(batch.heads * blocks); i < member.end(batch.heads * blocks); ++i)
    pack_keys_and_values(step, key_blocks_[i % blocks], i / blocks, keys + i * block_values, values + i * block_values);
  member.wait();
#if QWEN_BATCH_HAS_AMX
  const TileScope scope(16);
#endif
  const auto count = static_cast<int64_t>(queries_.size());
  const int64_t size = std::clamp<int64_t>(count / (8 * member.team.parts()), 1, MAX_QUERY_BLOCKS);
  for (int64_t i = size * member.team.take(); i < count; i = size * member.team.take())
    attend_together(step, i, std::min(i + size, count));
}

void PrefillPlan::attend_together(const PrefillStep& step, int64_t first, int64_t last) const {
  using namespace prefill_attention_detail;
  const PrefillBatch& batch = step.batch;
  const int64_t group = batch.query_heads / batch.heads, block_values = batch.dim * KEY_BLOCK;
  const auto* keys = static_cast<const uint16_t*>(packed_.const_data_ptr());
  const auto* values = keys + packed_.size(1);
  std::array<std::optional<QueryBlock>, MAX_QUERY_BLOCKS> together;
  int64_t most = 0;
  for (int64_t i = first; i < last; ++i) {
    auto& block = together[i - first];
    block.emplace(step, queries_[i].sequence, queries_[i].head, queries_[i].block * QUERY_ROWS);
    most = std::max(most, block->key_blocks());
  }
  for (int64_t number = 0; number < most; ++number)
    for (int64_t i = first; i < last; ++i) {
      if (number >= together[i - first]->key_blocks()) continue;
      const int64_t of_head = queries_[i].head / group * static_cast<int64_t>(key_blocks_.size());
      const int64_t at = (of_head + of_sequences_[first_block_[queries_[i].sequence] + number]) * block_values;
      together[i - first]->attend(number, keys + at, values + at);
    }
  for (int64_t i = first; i < last; ++i) together[i - first]->write();
}

// Returns whether this build and processor can run `prefill_attention` for heads of `dim` in pages of `page_size`.
bool prefill_attention_available(int64_t dim, int64_t page_size) {
#if QWEN_BATCH_HAS_AMX
  if (!amx_granted()) return false;
#endif
  return dim % 32 == 0 && dim <= prefill_attention_detail::MAX_DIM && page_size % KEY_BLOCK == 0;
}

// Returns attention [tokens, query heads, dim], like `q`.
// q [tokens, query heads, dim] and cache [pages, 2, kv heads, page size, dim], both bfloat16;
// query_start [sequences + 1], context_lens [sequences] and page_tables [sequences, width], all int32.
// The queries are the last tokens of each context.
Tensor prefill_attention(const Tensor& q, const Tensor& cache, const Tensor& query_start, const Tensor& context_lens,
                         const Tensor& page_tables, double scale) {
  check(q.is_contiguous() && CachePages::is_cache(cache),
        "prefill_attention: q and a cache [pages, 2, kv heads, page size, dim] must be contiguous");
  for (const Tensor* t : {&q, &cache})
    check(t->scalar_type() == ScalarType::BFloat16, "prefill_attention: q and the cache must be bfloat16");
  const CachePages pages = CachePages::of(cache);
  check(prefill_attention_available(pages.dim, pages.page_size),
        "prefill_attention: this processor or head size is not supported");
  for (const Tensor* t : {&query_start, &context_lens, &page_tables})
    check(t->is_contiguous() && t->scalar_type() == ScalarType::Int,
          "prefill_attention: indices must be contiguous int32");
  Tensor out = torch::stable::empty_like(q);
  const PrefillBatch batch{
      .query_start = static_cast<const int32_t*>(query_start.const_data_ptr()),
      .context = static_cast<const int32_t*>(context_lens.const_data_ptr()),
      .tables = static_cast<const int32_t*>(page_tables.const_data_ptr()),
      .sequences = context_lens.size(0),
      .query_heads = q.size(1),
      .heads = pages.heads,
      .dim = pages.dim,
      .page_size = pages.page_size,
      .width = page_tables.size(1),
      .scale = static_cast<float>(scale),
  };
  batch.check_bounds(q.size(0), cache.size(0));
  const PrefillStep step{
      .batch = batch,
      .q = static_cast<const uint16_t*>(q.const_data_ptr()),
      .cache = static_cast<const uint16_t*>(cache.const_data_ptr()),
      .out = static_cast<uint16_t*>(out.mutable_data_ptr()),
  };
  const PrefillPlan plan(batch);
  as_team([&](const Member& member) { plan.attend(member, step); });
  return out;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("prefill_attention_available(int dim, int page_size) -> bool");
  m.def(
      "prefill_attention(Tensor q, Tensor cache, Tensor query_start, Tensor context_lens, Tensor page_tables, float "
      "scale) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("prefill_attention_available", TORCH_BOX(&qwen_batch::prefill_attention_available));
  m.impl("prefill_attention", TORCH_BOX(&qwen_batch::prefill_attention));
}
