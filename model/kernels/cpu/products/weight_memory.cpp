// Weights lie one behind the other in chunks of many huge pages. If each had pages of its own, the end of each weight
// would have to lie in small pages, or waste most of a huge one: in 4 bits, half of the weights of Qwen3-0.6B are
// smaller than a huge page.

#include "weight_memory.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "check.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace weight_memory_detail {
namespace {

constexpr int64_t LINE_BYTES = 64;
constexpr int64_t HUGE_PAGE = 2 << 20;     // bytes, on x86-64
constexpr int64_t CHUNK = 64 * HUGE_PAGE;  // bytes of a chunk, if no weight is larger

int64_t round_up(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

#if defined(__linux__)

// Memory straight from the system. Heap memory may have been written before and then already has its (small) pages.
// Pages that no weight reaches take no memory.
class Chunk {
 public:
  explicit Chunk(int64_t bytes) : size_(bytes) {
    memory_ = mmap(nullptr, mapped(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory_ != MAP_FAILED, "there is no memory left for a weight");
    const auto start = reinterpret_cast<intptr_t>(memory_);
    first_ = static_cast<char*>(memory_) + (round_up(start, HUGE_PAGE) - start);
    madvise(first_, size_, MADV_HUGEPAGE);  // a refusal changes nothing
  }
  Chunk(const Chunk&) = delete;
  ~Chunk() { munmap(memory_, mapped()); }

  // Returns memory that nobody else gets, or nullptr if the chunk has too little left.
  void* take(int64_t bytes) {
    if (bytes > size_ - taken_) return nullptr;
    taken_ += bytes;
    return first_ + taken_ - bytes;
  }

 private:
  int64_t mapped() const { return size_ + HUGE_PAGE; }

  const int64_t size_;
  int64_t taken_ = 0;
  void* memory_;
  char* first_;
};

// Takes memory from the present chunk or from a new one, which lives as long as its weights.
std::pair<void*, std::shared_ptr<Chunk>> take(int64_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<Chunk> present;
  const std::lock_guard lock(mutex);
  if (const auto chunk = present.lock())
    if (void* memory = chunk->take(bytes)) return {memory, chunk};
  const auto chunk = std::make_shared<Chunk>(std::max(CHUNK, round_up(bytes, HUGE_PAGE)));
  present = chunk;
  return {chunk->take(bytes), chunk};
}

#endif

}  // namespace
}  // namespace weight_memory_detail

Tensor weight_memory(const std::vector<int64_t>& sizes, ScalarType type, int64_t value_bytes) {
#if defined(__linux__)
  using namespace weight_memory_detail;
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t axis = sizes.size() - 1; axis > 0; --axis) strides[axis - 1] = strides[axis] * sizes[axis];
  const auto [memory, chunk] = take(round_up(strides[0] * sizes[0] * value_bytes, LINE_BYTES));
  const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
  return torch::stable::from_blob(memory, sizes, strides, cpu, type, [chunk = chunk](void*) {});
#else
  return torch::stable::empty(sizes, type);
#endif
}

}  // namespace qwen_batch
