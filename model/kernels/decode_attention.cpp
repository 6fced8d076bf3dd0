// Attention of one new token a sequence over its pages: softmax(q k^T * scale) v, one pass, online softmax.
//
// Reads valid tokens only. Pages are blocks at absolute positions, and a sequence's heads are worked on by one thread
// from the first page to the last, so its bits depend on no neighbour, thread count or padding.
// Online softmax: Milakov and Gimelshein, arXiv 1805.02867; paged: Kwon et al., arXiv 2309.06180.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "balance.h"
#include "kernels.h"
#include "vector_attention.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

constexpr int MAX_GROUP = 4;    // query heads worked on together; larger groups take several rounds
constexpr int64_t MAX_RUN = 8;  // kv heads worked on in turn

#if QWEN_BATCH_HAS_AVX512_BF16

// `GROUP` query heads of each of a run of kv heads. The heads of a page lie side by side and are read in that order, block
// after block: all keys, then all values, each fetched while those before it are worked on. `next`: keys of what follows.
template <int DIM, int GROUP>
void attend(const Item& item, const Run<uint16_t>& run, int64_t group, Portion next) {
  std::optional<Attention<DIM, GROUP>> heads[MAX_RUN];
  for (int64_t h = 0; h < run.heads; ++h) heads[h].emplace(item, run.q + h * group * DIM);
  Portions work(item, run, DIM, next), ahead(item, run, DIM, next);
  ahead.following();
  for (int64_t first = 0; first < item.context; first += BLOCK) {
    for (int64_t h = 0; h < run.heads; ++h) heads[h]->weigh(work.following(), ahead.following());
    for (int64_t h = 0; h < run.heads; ++h) heads[h]->accumulate(work.following(), ahead.following());
  }
  for (int64_t h = 0; h < run.heads; ++h) heads[h]->store(run.out + h * group * DIM);
}

using Kernel = void (*)(const Item&, const Run<uint16_t>&, int64_t, Portion);

template <int DIM>
Kernel kernel_of(int64_t group) {
  constexpr Kernel kernels[MAX_GROUP] = {attend<DIM, 1>, attend<DIM, 2>, attend<DIM, 3>, attend<DIM, 4>};
  return kernels[group - 1];
}

// The kernel for `group` heads of `dim`, or nullptr where only the plain code fits.
Kernel kernel_for(int64_t dim, int64_t group) {
  switch (dim) {
    case 32: return kernel_of<32>(group);
    case 64: return kernel_of<64>(group);
    case 128: return kernel_of<128>(group);
    default: return nullptr;
  }
}

#endif

// All query heads of a run of kv heads of one sequence. `next_keys`: those of what follows, of `next_context` tokens.
template <typename T>
void attend_run(const Item& item, const Run<T>& run, int64_t group, int64_t dim, const T* next_keys, int64_t next_context) {
#if QWEN_BATCH_HAS_AVX512_BF16
  if constexpr (std::is_same_v<T, uint16_t>) {
    if (item.page_size % BLOCK == 0 && kernel_for(dim, 1) != nullptr) {
      for (int64_t g = 0; g < group; g += MAX_GROUP)
        kernel_for(dim, std::min<int64_t>(MAX_GROUP, group - g))(item, run.from_query(g * dim), group, {next_keys, std::min(BLOCK, next_context)});
      return;
    }
  }
#endif
  for (int64_t h = 0; h < run.heads; ++h) {
    const int64_t head = h * item.page_size * dim;
    for (int64_t g = h * group; g < (h + 1) * group; ++g)
      attend_plain(item, run.q + g * dim, run.keys + head, run.values + head, run.out + g * dim, dim);
  }
}

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

template <typename T>
void run(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lens, const Tensor& tables, float scale, Tensor& out) {
  const int64_t sequences = lens.size(0), query_heads = q.size(1), dim = q.size(2);
  const int64_t heads = k.size(1), page_size = k.size(2), group = query_heads / heads, width = tables.size(1);
  const auto* context = static_cast<const int32_t*>(lens.const_data_ptr());
  const auto* pages = static_cast<const int32_t*>(tables.const_data_ptr());
  const auto* queries = static_cast<const T*>(q.const_data_ptr());
  const auto* keys = static_cast<const T*>(k.const_data_ptr());
  const auto* values = static_cast<const T*>(v.const_data_ptr());
  auto* result = static_cast<T*>(out.mutable_data_ptr());
  for (int64_t s = 0; s < sequences; ++s)
    check(context[s] >= 1 && context[s] <= width * page_size, "decode_attention: a context length is outside its pages");
  for (int64_t i = 0; i < sequences * width; ++i)
    check(pages[i] >= 0 && pages[i] < k.size(0), "decode_attention: a page number is outside the cache");
  const int64_t parts = torch::stable::get_num_threads();
  const auto borders = balanced_borders(sequences * heads, parts, [&](int64_t item) { return context[item / heads]; });  // sequence-major
  torch::stable::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = borders[begin], heads_now; item < borders[end]; item += heads_now) {
      const int64_t s = item / heads, h = item % heads, first = (s * query_heads + h * group) * dim;
      heads_now = std::min({MAX_RUN, heads - h, borders[end] - item});
      const auto keys_of = [&](int64_t which) { return keys + which % heads * page_size * dim; };
      const int64_t next = item + heads_now, page = heads * page_size * dim;
      const Item what{pages + s * width, context[s], page_size, page, scale};
      const Run<T> run{queries + first, keys_of(item), values + h * page_size * dim, result + first, heads_now};
      if (next < borders[end]) attend_run(what, run, group, dim, keys_of(next) + pages[next / heads * width] * page, context[next / heads]);
      else attend_run<T>(what, run, group, dim, nullptr, 0);
    }
  });
}

}  // namespace

// q [sequences, query heads, dim]; caches [pages, kv heads, page size, dim]; lens [sequences] and tables [sequences, width] int32.
Tensor decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lens, const Tensor& tables, double scale) {
  check(q.is_contiguous() && k.is_contiguous() && v.is_contiguous(), "decode_attention: q and the caches must be contiguous");
  check(lens.is_contiguous() && tables.is_contiguous(), "decode_attention: lens and tables must be contiguous");
  check(lens.scalar_type() == ScalarType::Int && tables.scalar_type() == ScalarType::Int, "decode_attention: lens and tables must be int32");
  check(q.size(0) == lens.size(0) && q.size(0) == tables.size(0), "decode_attention: one query a sequence");
  check(q.size(1) % k.size(1) == 0 && q.size(2) == k.size(3), "decode_attention: q and the caches do not fit");
  check(q.size(2) <= 512 && k.size(2) <= 512, "decode_attention: head size and page size must be at most 512");
  Tensor out = torch::stable::empty_like(q);
  if (q.scalar_type() == ScalarType::BFloat16) {
    run<uint16_t>(q, k, v, lens, tables, static_cast<float>(scale), out);
  } else {
    check(q.scalar_type() == ScalarType::Float, "decode_attention: q must be float32 or bfloat16");
    run<float>(q, k, v, lens, tables, static_cast<float>(scale), out);
  }
  return out;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("decode_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor context_lens, Tensor block_tables, float scale) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("decode_attention", TORCH_BOX(&qwen_batch::decode_attention));
}
