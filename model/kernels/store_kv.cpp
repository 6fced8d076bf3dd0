// New keys and values into their slots of the paged cache: rows of `dim` values, whatever their type.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <cstring>

#include "check.h"
#include "kernels.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

// x [tokens, heads, dim], maybe a view whose tokens lie further apart.
void scatter(const Tensor& x, Tensor& cache, const int64_t* slots) {
  const int64_t tokens = x.size(0), heads = x.size(1), page_size = cache.size(2);
  const int64_t row_bytes = x.size(2) * static_cast<int64_t>(x.element_size());
  const int64_t token_bytes = x.stride(0) * static_cast<int64_t>(x.element_size());
  const auto* in = static_cast<const char*>(x.const_data_ptr());
  auto* out = static_cast<char*>(cache.mutable_data_ptr());
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t row = cache_row(slots[t], h, heads, page_size);
      std::memcpy(out + row * row_bytes, in + t * token_bytes + h * row_bytes, row_bytes);
    }
}

// k, v [tokens, kv heads, dim]; caches [pages, kv heads, page size, dim]; slots [tokens] int64.
void store_kv(const Tensor& k, const Tensor& v, Tensor k_cache, Tensor v_cache, const Tensor& slots) {
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == k.size(0), "store_kv: one int64 slot a token");
  check(k_cache.is_contiguous() && v_cache.is_contiguous(), "store_kv: the caches must be contiguous");
  const int64_t limit = k_cache.size(0) * k_cache.size(2);
  const auto* at = static_cast<const int64_t*>(slots.const_data_ptr());
  for (int64_t t = 0; t < slots.size(0); ++t) check(at[t] >= 0 && at[t] < limit, "store_kv: a slot is outside the cache");
  for (const auto& [x, cache] : {std::pair{&k, &k_cache}, std::pair{&v, &v_cache}}) {
    check(x->dim() == 3 && x->size(0) == k.size(0) && x->size(1) == cache->size(1) && x->size(2) == cache->size(3), "store_kv: the shapes do not fit the cache");
    check(x->scalar_type() == cache->scalar_type(), "store_kv: the cache has another dtype");
    check(x->stride(2) == 1 && x->stride(1) == x->size(2), "store_kv: a token's heads must lie side by side");
    scatter(*x, *cache, at);
  }
}

}  // namespace
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_IMPL(qwen_batch, CPU, m) { m.impl("store_kv", TORCH_BOX(&qwen_batch::store_kv)); }
