// Stores new keys and values into their slots of the paged cache. They are copied as rows of `dim` values of any type.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <cstring>

#include "cache_pages.h"
#include "check.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace store_kv_detail {
namespace {

// Copies x [tokens, heads, dim] into the cache. x may be a view whose tokens lie further apart. `offset` counts the
// values from a token's key to the target: 0 for keys, `CachePages::values()` for values.
void scatter(const Tensor& x, Tensor& cache, int64_t offset, const int64_t* slots) {
  const CachePages pages = CachePages::of(cache);
  const auto size = static_cast<int64_t>(x.element_size());
  const auto* in = static_cast<const char*>(x.const_data_ptr());
  auto* out = static_cast<char*>(cache.mutable_data_ptr()) + offset * size;
  for (int64_t t = 0; t < x.size(0); ++t)
    for (int64_t h = 0; h < pages.heads; ++h)
      std::memcpy(out + pages.key_at(slots[t], h) * size, in + (t * x.stride(0) + h * pages.dim) * size,
                  pages.dim * size);
}

// k and v [tokens, kv heads, dim]; cache [pages, 2, kv heads, page size, dim]; slots [tokens] int64.
void store_kv(const Tensor& k, const Tensor& v, Tensor cache, const Tensor& slots) {
  check(slots.scalar_type() == ScalarType::Long && slots.is_contiguous() && slots.size(0) == k.size(0),
        "store_kv: slots must be contiguous int64, one per token");
  check(CachePages::is_cache(cache), "store_kv: a cache [pages, 2, kv heads, page size, dim] must be contiguous");
  const CachePages pages = CachePages::of(cache);
  const int64_t limit = cache.size(0) * pages.page_size;
  const auto* at = static_cast<const int64_t*>(slots.const_data_ptr());
  for (int64_t t = 0; t < slots.size(0); ++t)
    check(at[t] >= 0 && at[t] < limit, "store_kv: a slot is outside the cache");
  for (const auto& [x, offset] : {std::pair{&k, int64_t{0}}, std::pair{&v, pages.values()}}) {
    check(x->dim() == 3 && x->size(0) == k.size(0) && x->size(1) == pages.heads && x->size(2) == pages.dim,
          "store_kv: the shapes do not fit the cache");
    check(x->scalar_type() == cache.scalar_type(), "store_kv: keys, values and the cache must have one type");
    check(x->stride(2) == 1 && x->stride(1) == x->size(2), "store_kv: a token's heads must lie side by side");
    scatter(*x, cache, offset, at);
  }
}

}  // namespace
}  // namespace store_kv_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_IMPL(qwen_batch, CPU, m) { m.impl("store_kv", TORCH_BOX(&qwen_batch::store_kv_detail::store_kv)); }
