// The kernels that `dispatch.cpp` chooses from. The kernels' own files describe the arguments.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace qwen_batch {

using torch::stable::Tensor;

Tensor decode_attention(const Tensor& q, const Tensor& cache, const Tensor& lens, const Tensor& tables, double scale);
bool prefill_attention_available(int64_t dim, int64_t page_size);
Tensor prefill_attention(const Tensor& q, const Tensor& cache, const Tensor& query_start, const Tensor& context_lens,
                         const Tensor& page_tables, double scale);

// Returns whether the attention kernels may be used (dispatch.cpp). The layers ask for this.
bool attention_is_enabled();

}  // namespace qwen_batch
