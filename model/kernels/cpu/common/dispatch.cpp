// The operators of `model/ops` on a CPU: chooses the kernel that serves a call. A call that no kernel supports goes
// back to plain PyTorch. `model/ops/library.py` registers that implementation under the operator's name followed by
// `_in_python`.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "cache_pages.h"
#include "kernels.h"
#include "product.h"

using torch::headeronly::ScalarType;

namespace qwen_batch {
namespace dispatch_detail {
namespace {

constexpr int64_t MAX_DECODE_SIZE = 512;  // max head size and max page size of the decode kernel

std::atomic<bool> attention_enabled{true};

// Turns the attention kernels off, for tests and comparisons: attention then runs as on a machine without these
// kernels.
void enable_attention(bool enabled) { attention_enabled = enabled; }

template <typename... Args>
Tensor in_python(const char* name, const Args&... args) {
  std::array<StableIValue, sizeof...(Args)> stack{torch::stable::detail::from(args)...};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

Tensor linear(const Tensor& x, const Tensor& weight, int64_t out_features) {
  if (PackedWeight::is_packed(weight)) return product_of(x, weight, out_features);
  return in_python("qwen_batch::linear_in_python", x, weight, out_features);
}

Tensor paged_attention(const Tensor& q, const Tensor& cache, const Tensor& query_start, const Tensor& context_lens,
                       const Tensor& page_tables, double scale, bool is_decode) {
  const CachePages pages = CachePages::of(cache);
  if (attention_enabled) {
    if (is_decode && pages.dim <= MAX_DECODE_SIZE && pages.page_size <= MAX_DECODE_SIZE)
      return decode_attention(torch::stable::contiguous(q), cache, context_lens, page_tables, scale);
    if (!is_decode && q.scalar_type() == ScalarType::BFloat16 &&
        prefill_attention_available(pages.dim, pages.page_size))
      return prefill_attention(torch::stable::contiguous(q), cache, query_start, context_lens, page_tables, scale);
  }
  return in_python("qwen_batch::paged_attention_in_python", q, cache, query_start, context_lens, page_tables, scale,
                   is_decode);
}

}  // namespace
}  // namespace dispatch_detail

bool attention_is_enabled() { return dispatch_detail::attention_enabled; }

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) { m.def("enable_attention(bool enabled) -> ()"); }

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("enable_attention", TORCH_BOX(&qwen_batch::dispatch_detail::enable_attention));
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch, CPU, m) {
  m.impl("linear", TORCH_BOX(&qwen_batch::dispatch_detail::linear));
  m.impl("paged_attention", TORCH_BOX(&qwen_batch::dispatch_detail::paged_attention));
}
