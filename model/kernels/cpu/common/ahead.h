// What a product asks the processor to fetch while it multiplies with a block of weights: the next block, and what attention
// beside it reads next.
#pragma once

#include <algorithm>
#include <cstdint>

#include "beside.h"

namespace qwen_batch {

#if QWEN_BATCH_HAS_AVX512

class Ahead {
 public:
  // `next`: of `bytes`, like this block, or nullptr. `multiplied`: bytes of weights that count as done after this. All is spread
  // over `steps`.
  Ahead(const void* next, int64_t bytes, int64_t steps, Beside* beside, int64_t multiplied)
      : weights_(static_cast<const char*>(next)),
        weights_end_(weights_ == nullptr ? nullptr : weights_ + bytes),
        weights_a_step_((bytes / LINE + steps - 1) / steps),
        cache_(beside == nullptr ? nullptr : &beside->lines()),
        cache_lines_(beside == nullptr ? 0 : beside->lines_during(multiplied)),
        cache_a_step_((cache_lines_ + steps - 1) / steps) {}

  void step() {
    for (int64_t i = 0; i < weights_a_step_ && weights_ < weights_end_; ++i, weights_ += LINE) _mm_prefetch(weights_, _MM_HINT_T1);
    for (int64_t i = 0; i < cache_a_step_ && cache_lines_ > 0; ++i, --cache_lines_) _mm_prefetch(cache_->next(), _MM_HINT_T1);
  }

 private:
  const char *weights_, *weights_end_;
  int64_t weights_a_step_;
  BlockLines* cache_;
  int64_t cache_lines_, cache_a_step_;
};

#endif

}  // namespace qwen_batch
