// Causal attention of the new tokens of several sequences over their pages, in bfloat16.
//
// A block of up to 32 queries of one head meets the keys in blocks of 64 at absolute positions, with an online softmax a
// row; a block of keys beyond a row's position changes nothing in that row. So a row's bits depend neither on the other
// rows nor on how a prompt was cut into chunks. (Dao et al., arXiv 2205.14135.)

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cmath>
#include <vector>

#include "kernels.h"
#include "block_products.h"
#include "softmax_rows.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

#if QWEN_BATCH_HAS_AVX512_BF16

constexpr int MAX_DIM = 256;

// One step's shapes and arrays.
struct Step {
  const uint16_t *q, *keys, *values;
  uint16_t* out;
  const int32_t *query_start, *context, *tables;
  int64_t sequences, query_heads, heads, dim, page_size, width;
  float scale;
};

// A block of keys and values of one (sequence, kv head) in pairs: keys [dim / 2][64][2], values [32][dim][2].
void pack_block(const Step& step, int64_t sequence, int64_t head, int64_t block, uint16_t* keys, uint16_t* values) {
  const int64_t first = block * KEY_BLOCK, dim = step.dim;
  const int64_t count = std::min<int64_t>(KEY_BLOCK, step.context[sequence] - first);
  const int64_t page = step.tables[sequence * step.width + first / step.page_size];
  const int64_t at = ((page * step.heads + head) * step.page_size + first % step.page_size) * dim;
  const auto row = [&](const uint16_t* rows, int64_t t, int64_t d) {
    return t < count ? _mm512_loadu_si512(rows + at + t * dim + d) : _mm512_setzero_si512();
  };
  for (int64_t t = 0; t < KEY_BLOCK; t += 16)
    for (int64_t d = 0; d < dim; d += 32) {
      __m512i pairs[16];
      for (int64_t i = 0; i < 16; ++i) pairs[i] = row(step.keys, t + i, d);
      transpose_16(pairs);
      for (int64_t i = 0; i < 16; ++i) _mm512_storeu_si512(keys + ((d / 2 + i) * KEY_BLOCK + t) * 2, pairs[i]);
    }
  for (int64_t t = 0; t < KEY_BLOCK; t += 2)
    for (int64_t d = 0; d < dim; d += 32) {
      const __m512i even = row(step.values, t, d), odd = row(step.values, t + 1, d);
      _mm512_storeu_si512(values + t * dim + 2 * d, interleave_low(even, odd));
      _mm512_storeu_si512(values + t * dim + 2 * d + 32, interleave_high(even, odd));
    }
}

// Up to 32 queries of one head against all their keys.
class QueryBlock {
 public:
  QueryBlock(const Step& step, int64_t sequence, int64_t head, int64_t first_row) : step_(step) {
    const int64_t begin = step.query_start[sequence], fresh = step.query_start[sequence + 1] - begin;
    rows_ = static_cast<int>(std::min<int64_t>(QUERY_ROWS, fresh - first_row));
    position_ = step.context[sequence] - fresh + first_row;
    origin_ = ((begin + first_row) * step.query_heads + head) * step.dim;
    std::memset(query_, 0, sizeof query_);
    for (int r = 0; r < rows_; ++r)
      std::memcpy(query_ + r * step.dim, step.q + origin_ + r * step.query_heads * step.dim, step.dim * 2);
    std::fill(sum_v_, sum_v_ + QUERY_ROWS * step.dim, 0.0f);
  }

  void run(const uint16_t* keys, const uint16_t* values) {
    const int64_t block_values = step_.dim * KEY_BLOCK;
    for (int64_t first = 0; first < position_ + rows_; first += KEY_BLOCK) {
      const int64_t block = first / KEY_BLOCK * block_values;
      multiply<false>(query_, static_cast<int>(step_.dim), keys + block, KEY_BLOCK, score_, static_cast<int>(step_.dim / 2));
      softmax_.soften(score_, weight_, rows_, static_cast<int>(std::min<int64_t>(KEY_BLOCK, position_ + 1 - first)), step_.scale * LOG2_E);
      shrink_sums();
      multiply<true>(weight_, KEY_BLOCK, values + block, static_cast<int>(step_.dim), sum_v_, KEY_BLOCK / 2);
    }
    store();
  }

 private:
  template <bool ADD>
  void multiply(const uint16_t* a, int a_stride, const uint16_t* b, int columns, float* out, int pairs) const {
#if QWEN_BATCH_HAS_AMX
    if (amx_granted()) return multiply_tiles<ADD>(a, a_stride, b, columns, out, rows_ > 16 ? 32 : 16, pairs);
#endif
    multiply_vectors<ADD>(a, a_stride, b, columns, out, rows_, pairs);
  }

  void shrink_sums() {
    for (int r = 0; r < rows_; ++r) {
      const float shrink = softmax_.shrink(r);
      if (shrink == 1.0f) continue;
      float* sums = sum_v_ + r * step_.dim;
      for (int64_t d = 0; d < step_.dim; d += 16)
        _mm512_storeu_ps(sums + d, _mm512_mul_ps(_mm512_loadu_ps(sums + d), _mm512_set1_ps(shrink)));
    }
  }

  void store() const {
    for (int r = 0; r < rows_; ++r) {
      const __m512 inverse = _mm512_set1_ps(1.0f / softmax_.sum(r));
      uint16_t* out = step_.out + origin_ + r * step_.query_heads * step_.dim;
      for (int64_t d = 0; d < step_.dim; d += 16) {
        const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(sum_v_ + r * step_.dim + d), inverse);
        _mm256_storeu_si256((__m256i*)(out + d), (__m256i)_mm512_cvtneps_pbh(value));
      }
    }
  }

  const Step& step_;
  int rows_;
  int64_t position_;  // of the first row, from 0
  int64_t origin_;    // of the first row in q and out
  alignas(64) uint16_t query_[QUERY_ROWS * MAX_DIM];
  alignas(64) float score_[QUERY_ROWS * KEY_BLOCK];
  alignas(64) uint16_t weight_[QUERY_ROWS * KEY_BLOCK] = {};
  alignas(64) float sum_v_[QUERY_ROWS * MAX_DIM];
  SoftmaxRows<QUERY_ROWS, KEY_BLOCK> softmax_;
};

// A piece of work: one block of queries of one kv head's group.
struct Work {
  int64_t sequence, head, first_row;
};

void run(const Step& step) {
  std::vector<int64_t> first_block{0};  // of each sequence, in the packed keys and values
  std::vector<Work> blocks, queries;
  for (int64_t s = 0; s < step.sequences; ++s) {
    const int64_t count = (step.context[s] + KEY_BLOCK - 1) / KEY_BLOCK;
    first_block.push_back(first_block.back() + count);
    for (int64_t h = 0; h < step.heads; ++h)
      for (int64_t b = 0; b < count; ++b) blocks.push_back({s, h, b});
    // A head after the other, since its keys and values fit into the second-level cache.
    const int64_t fresh = step.query_start[s + 1] - step.query_start[s];
    for (int64_t h = 0; h < step.query_heads; ++h)
      for (int64_t row = (fresh - 1) / QUERY_ROWS * QUERY_ROWS; row >= 0; row -= QUERY_ROWS) queries.push_back({s, h, row});
  }
  const int64_t block_values = step.dim * KEY_BLOCK;
  Tensor packed = torch::stable::empty({2, first_block.back() * step.heads * block_values + 32}, ScalarType::BFloat16);
  auto* keys = static_cast<uint16_t*>(packed.mutable_data_ptr());
  auto* values = keys + packed.size(1);
  const auto place = [&](int64_t s, int64_t h) {
    return (first_block[s] * step.heads + h * (first_block[s + 1] - first_block[s])) * block_values;
  };
  torch::stable::parallel_for(0, blocks.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = place(blocks[i].sequence, blocks[i].head) + blocks[i].first_row * block_values;
      pack_block(step, blocks[i].sequence, blocks[i].head, blocks[i].first_row, keys + at, values + at);
    }
  });
  const int64_t parts = torch::stable::get_num_threads(), group = step.query_heads / step.heads;
  torch::stable::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
#if QWEN_BATCH_HAS_AMX
    if (!amx_granted()) check(false, "prefill_attention: the processor's tile registers were refused");
    const TileScope scope(16);
#endif
    for (int64_t part = begin; part < end; ++part)
      // Dealt out there and back, because a head's later rows have more keys than its earlier ones.
      for (size_t i = part, back = 2 * (parts - 1 - part) + 1; i < queries.size(); i += back, back = 2 * parts - back) {
        const int64_t at = place(queries[i].sequence, queries[i].head / group);
        QueryBlock(step, queries[i].sequence, queries[i].head, queries[i].first_row).run(keys + at, values + at);
      }
  });
}

#endif  // QWEN_BATCH_HAS_AVX512_BF16

}  // namespace

// Whether this build and processor can run `prefill_attention` for heads of `dim` in pages of `page_size`.
bool prefill_attention_available(int64_t dim, int64_t page_size) {
#if QWEN_BATCH_HAS_AVX512_BF16
#if QWEN_BATCH_HAS_AMX
  if (!amx_granted()) return false;
#endif
  return dim % 32 == 0 && dim <= MAX_DIM && page_size % KEY_BLOCK == 0;
#else
  return false;
#endif
}

// q [tokens, query heads, dim] bfloat16; caches [pages, kv heads, page size, dim]; query_start [sequences + 1],
// context_lens [sequences] and block_tables [sequences, width] int32. The queries are the last tokens of each context.
Tensor prefill_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& query_start, const Tensor& context_lens,
                         const Tensor& block_tables, double scale) {
  check(prefill_attention_available(q.size(2), k.size(2)), "prefill_attention: this processor or head size is not supported");
  for (const Tensor* t : {&q, &k, &v}) check(t->is_contiguous() && t->scalar_type() == ScalarType::BFloat16, "prefill_attention: q and the caches must be contiguous bfloat16");
  for (const Tensor* t : {&query_start, &context_lens, &block_tables}) check(t->is_contiguous() && t->scalar_type() == ScalarType::Int, "prefill_attention: indices must be contiguous int32");
  Tensor out = torch::stable::empty_like(q);
#if QWEN_BATCH_HAS_AVX512_BF16
  const auto* starts = static_cast<const int32_t*>(query_start.const_data_ptr());
  const auto* context = static_cast<const int32_t*>(context_lens.const_data_ptr());
  const auto* tables = static_cast<const int32_t*>(block_tables.const_data_ptr());
  const Step step{static_cast<const uint16_t*>(q.const_data_ptr()), static_cast<const uint16_t*>(k.const_data_ptr()),
                  static_cast<const uint16_t*>(v.const_data_ptr()), static_cast<uint16_t*>(out.mutable_data_ptr()),
                  starts, context, tables, context_lens.size(0), q.size(1), k.size(1), q.size(2), k.size(2),
                  block_tables.size(1), static_cast<float>(scale)};
  check(starts[0] == 0 && starts[step.sequences] == q.size(0), "prefill_attention: query_start does not cover q");
  for (int64_t s = 0; s < step.sequences; ++s) {
    const int64_t fresh = starts[s + 1] - starts[s];
    check(fresh >= 0 && fresh <= context[s] && context[s] >= 1 && context[s] <= step.width * step.page_size, "prefill_attention: a length is outside its range");
  }
  for (int64_t i = 0; i < step.sequences * step.width; ++i) check(tables[i] >= 0 && tables[i] < k.size(0), "prefill_attention: a page number is outside the cache");
  run(step);
#endif
  return out;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("prefill_attention_available(int dim, int page_size) -> bool");
  m.def("prefill_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor query_start, Tensor context_lens, Tensor block_tables, float scale) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("prefill_attention_available", TORCH_BOX(&qwen_batch::prefill_attention_available));
  m.impl("prefill_attention", TORCH_BOX(&qwen_batch::prefill_attention));
}
