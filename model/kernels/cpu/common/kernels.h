// The kernels that `dispatch.cpp` chooses from. Arguments are as in their own files.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace qwen_batch {

using torch::stable::Tensor;

Tensor decode_attention(const Tensor& q, const Tensor& cache, const Tensor& lens, const Tensor& tables, double scale);
bool prefill_attention_available(int64_t dim, int64_t page_size);
Tensor prefill_attention(const Tensor& q, const Tensor& cache, const Tensor& query_start, const Tensor& context_lens, const Tensor& block_tables,
                         double scale);

// For layers: whether attention by these kernels may be used (dispatch.cpp).
bool attention_is_enabled();

}  // namespace qwen_batch
