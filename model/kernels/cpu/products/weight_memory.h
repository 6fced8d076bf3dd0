// Memory for packed weights, in huge pages where Linux provides them. Every step reads the weights from end to end.
// With pages of 4 KiB, this stream would stall at the end of each page.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

namespace qwen_batch {

// Returns a tensor without values. It begins at a multiple of 64 bytes.
torch::stable::Tensor weight_memory(const std::vector<int64_t>& sizes, torch::headeronly::ScalarType type,
                                    int64_t value_bytes);

}  // namespace qwen_batch
