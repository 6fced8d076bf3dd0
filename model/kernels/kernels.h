// The kernels that `dispatch.cpp` chooses from. Arguments are as in their own files.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace qwen_batch {

using torch::stable::Tensor;

Tensor decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lens, const Tensor& tables, double scale);
bool prefill_attention_available(int64_t dim, int64_t page_size);
Tensor prefill_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& query_start, const Tensor& context_lens,
                         const Tensor& block_tables, double scale);

// Which row of a cache [pages, heads, page size, dim] holds a head of a slot.
inline int64_t cache_row(int64_t slot, int64_t head, int64_t heads, int64_t page_size) {
  return (slot / page_size * heads + head) * page_size + slot % page_size;
}

// For layers: whether attention by these kernels may be used (dispatch.cpp).
bool attention_is_enabled();

}  // namespace qwen_batch
