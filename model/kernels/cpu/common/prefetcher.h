// Prefetches while a product multiplies with a block of weights. It fetches the next block and the keys or values that
// the overlapped attention reads next.
#pragma once

#include <algorithm>
#include <cstdint>

#include "overlap.h"

namespace qwen_batch {

class Prefetcher {
 public:
  // `next`: the next block of weights, `bytes` long like the current one, or nullptr. `multiplied`: bytes of weights
  // that the caller reports to `overlap` after this block. The prefetches are spread over `steps` calls of `step`.
  Prefetcher(const void* next, int64_t bytes, int64_t steps, Overlap* overlap, int64_t multiplied)
      : weights_(static_cast<const char*>(next)),
        weights_end_(weights_ == nullptr ? nullptr : weights_ + bytes),
        weight_lines_per_step_((bytes / LINE + steps - 1) / steps),
        cache_(overlap == nullptr ? nullptr : &overlap->lines()),
        cache_lines_(overlap == nullptr ? 0 : overlap->lines_during(multiplied)),
        cache_lines_per_step_((cache_lines_ + steps - 1) / steps) {}

  void step() {
    for (int64_t i = 0; i < weight_lines_per_step_ && weights_ < weights_end_; ++i, weights_ += LINE)
      __builtin_prefetch(weights_, 0, SECOND_LEVEL);
    for (int64_t i = 0; i < cache_lines_per_step_ && cache_lines_ > 0; ++i, --cache_lines_)
      __builtin_prefetch(cache_->next(), 0, SECOND_LEVEL);
  }

 private:
  static constexpr int SECOND_LEVEL = 2;  // locality in `__builtin_prefetch`: keep in the second-level cache

  const char *weights_, *weights_end_;
  int64_t weight_lines_per_step_;
  BlockLines* cache_;
  int64_t cache_lines_, cache_lines_per_step_;
};

}  // namespace qwen_batch
