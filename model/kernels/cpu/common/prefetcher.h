// Prefetches while a product multiplies with a block of weights. It fetches the next block and the keys or values that
// the overlapped attention reads next.
#pragma once

#include <algorithm>
#include <cstdint>

#include "overlap.h"

namespace qwen_batch {

#if QWEN_BATCH_HAS_AVX512

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
      _mm_prefetch(weights_, _MM_HINT_T1);
    for (int64_t i = 0; i < cache_lines_per_step_ && cache_lines_ > 0; ++i, --cache_lines_)
      _mm_prefetch(cache_->next(), _MM_HINT_T1);
  }

 private:
  const char *weights_, *weights_end_;
  int64_t weight_lines_per_step_;
  BlockLines* cache_;
  int64_t cache_lines_, cache_lines_per_step_;
};

#endif

}  // namespace qwen_batch
