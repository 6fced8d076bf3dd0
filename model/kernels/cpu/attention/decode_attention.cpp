// Decode attention: one new token per sequence attends to the sequence's pages. Computes softmax(q k^T * scale) v in
// one pass with an online softmax.
//
// The kernel reads valid tokens only. Pages are blocks at absolute positions, and one thread works on a head from its
// first page to its last. A sequence's bits therefore do not depend on its neighbours, the number of threads or
// padding.
//
// Online softmax: Milakov and Gimelshein, arXiv 1805.02867. Paged attention: Kwon et al., arXiv 2309.06180.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "attention_share.h"
#include "check.h"
#include "kernels.h"
#include "team.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace decode_attention_detail {
namespace {

template <typename T>
void decode_as(const Tensor& q, const Tensor& cache, const Tensor& lens, const Tensor& tables, double scale,
               Tensor& out) {
  const CachePages pages = CachePages::of(cache);
  const DecodeBatch batch{
      .context = static_cast<const int32_t*>(lens.const_data_ptr()),
      .pages = static_cast<const int32_t*>(tables.const_data_ptr()),
      .sequences = lens.size(0),
      .query_heads = q.size(1),
      .heads = pages.heads,
      .dim = pages.dim,
      .page_size = pages.page_size,
      .width = tables.size(1),
      .scale = static_cast<float>(scale),
  };
  batch.check_bounds(cache.size(0));
  const DecodeStep<T> step{
      .batch = batch,
      .queries = static_cast<const T*>(q.const_data_ptr()),
      .cache = static_cast<const T*>(cache.const_data_ptr()),
      .out = static_cast<T*>(out.mutable_data_ptr()),
  };
  const auto borders = batch.borders(torch::stable::get_num_threads());
  as_team([&](const Member& member) {
    for (AttentionShare<T> share(step, borders[member.first], borders[member.last]); !share.done();) share.block();
  });
}

}  // namespace
}  // namespace decode_attention_detail

// Returns attention [sequences, query heads, dim], like `q`.
// q [sequences, query heads, dim]; cache [pages, 2, kv heads, page size, dim];
// lens [sequences] and tables [sequences, width], both int32.
Tensor decode_attention(const Tensor& q, const Tensor& cache, const Tensor& lens, const Tensor& tables, double scale) {
  check(q.is_contiguous() && CachePages::is_cache(cache),
        "decode_attention: q and a cache [pages, 2, kv heads, page size, dim] must be contiguous");
  const CachePages pages = CachePages::of(cache);
  check(lens.is_contiguous() && tables.is_contiguous(), "decode_attention: lens and tables must be contiguous");
  check(lens.scalar_type() == ScalarType::Int && tables.scalar_type() == ScalarType::Int,
        "decode_attention: lens and tables must be int32");
  check(q.size(0) == lens.size(0) && q.size(0) == tables.size(0),
        "decode_attention: q, lens and tables must have one entry per sequence");
  check(q.size(1) % pages.heads == 0 && q.size(2) == pages.dim && q.scalar_type() == cache.scalar_type(),
        "decode_attention: q must have the cache's type and head size, and a multiple of its kv heads");
  check(pages.dim <= 512 && pages.page_size <= 512, "decode_attention: head size and page size must be at most 512");
  Tensor out = torch::stable::empty_like(q);
  if (q.scalar_type() == ScalarType::BFloat16) {
    decode_attention_detail::decode_as<uint16_t>(q, cache, lens, tables, scale, out);
  } else {
    check(q.scalar_type() == ScalarType::Float, "decode_attention: q must be float32 or bfloat16");
    decode_attention_detail::decode_as<float>(q, cache, lens, tables, scale, out);
  }
  return out;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("decode_attention(Tensor q, Tensor cache, Tensor context_lens, Tensor page_tables, float scale) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("decode_attention", TORCH_BOX(&qwen_batch::decode_attention));
}
