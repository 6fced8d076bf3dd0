// Memory for a packed weight, in huge pages where Linux provides them. Every step reads the weight from end to end.
// With pages of 4 KiB, this stream would stall at the end of each page.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "check.h"

namespace qwen_batch {

using torch::headeronly::ScalarType;

constexpr uintptr_t HUGE_PAGE = 2 << 20;  // bytes, on x86-64

// Returns a tensor with memory straight from the system. Heap memory may have been written before and then already has
// its (small) pages.
inline torch::stable::Tensor weight_memory(const std::vector<int64_t>& sizes, ScalarType type, int64_t value_bytes) {
#if defined(__linux__)
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t axis = sizes.size() - 1; axis > 0; --axis) strides[axis - 1] = strides[axis] * sizes[axis];
  const uintptr_t bytes = static_cast<uintptr_t>(strides[0] * sizes[0] * value_bytes);
  if (bytes >= HUGE_PAGE) {
    const uintptr_t taken = bytes + HUGE_PAGE;
    void* memory = mmap(nullptr, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "there is no memory left for a weight");
    const uintptr_t start = (reinterpret_cast<uintptr_t>(memory) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    auto* values = reinterpret_cast<void*>(start);
    madvise(values, bytes / HUGE_PAGE * HUGE_PAGE,
            MADV_HUGEPAGE);  // the rest would take a whole page; a refusal changes nothing
    const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
    return torch::stable::from_blob(values, sizes, strides, cpu, type,
                                    [memory, taken](void*) { munmap(memory, taken); });
  }
#endif
  return torch::stable::empty(sizes, type);
}

}  // namespace qwen_batch
