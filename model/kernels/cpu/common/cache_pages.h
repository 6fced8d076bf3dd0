// Offsets into a layer's cache [pages, 2, kv heads, page size, dim], counted in values of its type. A page's values
// follow its keys: attention reads both, and memory is faster when reads start at fewer places.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace qwen_batch {

struct CachePages {
  int64_t heads, page_size, dim;

  // `cache` must satisfy `is_cache`.
  static CachePages of(const torch::stable::Tensor& cache) {
    return {.heads = cache.size(2), .page_size = cache.size(3), .dim = cache.size(4)};
  }

  static bool is_cache(const torch::stable::Tensor& tensor) {
    return tensor.dim() == 5 && tensor.size(1) == 2 && tensor.is_contiguous();
  }

  int64_t head() const { return page_size * dim; }   // from one head of a page to the next
  int64_t values() const { return heads * head(); }  // from a key to its value
  int64_t page() const { return 2 * values(); }      // from one page to the next

  // Returns the offset of the key of head `of_head` in `slot`.
  int64_t key_at(int64_t slot, int64_t of_head) const {
    return slot / page_size * page() + of_head * head() + slot % page_size * dim;
  }
};

}  // namespace qwen_batch
