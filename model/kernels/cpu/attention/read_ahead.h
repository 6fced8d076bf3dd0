// In which order decode attention reads keys and values, and which it asks the processor to fetch while it works on those before them.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "plain_attention.h"

namespace qwen_batch {

constexpr int64_t BLOCK = 64;  // tokens worked on at a time; pages are multiples of it

// Rows of one head, at most BLOCK.
struct Portion {
  const uint16_t* rows = nullptr;
  int64_t count = 0;
};

// Walks through a run's portions in the order in which they are worked on: of each block of tokens the keys of all
// heads, then their values; after the last block the keys of what follows.
class Portions {
 public:
  Portions(const Item& item, const Run<uint16_t>& run, int64_t dim, Portion next_keys)
      : item_(item), run_(run), dim_(dim), next_keys_(next_keys) {}

  Portion following() {
    if (first_ >= item_.context) return next_keys_;
    const int64_t at = item_.place(first_, dim_) + head_ * item_.page_size * dim_;
    const Portion portion{(values_ ? run_.values : run_.keys) + at, count()};
    if (++head_ == run_.heads) {
      head_ = 0;
      if (values_) first_ += BLOCK;
      values_ = !values_;
    }
    return portion;
  }

  // Tokens of the block at hand.
  int64_t count() const { return std::min(BLOCK, item_.context - first_); }

  bool at_end() const { return first_ >= item_.context; }

  // Portions of a block of tokens.
  int64_t a_block() const { return 2 * run_.heads; }

 private:
  Item item_;
  Run<uint16_t> run_;
  int64_t dim_;
  Portion next_keys_;
  int64_t first_ = 0, head_ = 0;
  bool values_ = false;
};

#if QWEN_BATCH_HAS_AVX512

enum class Cache { NONE, FIRST_LEVEL, SECOND_LEVEL };

// Where to fetch to, as measured with benchmarks/decode_attention.py. A Zen 5, whose first level (48 KiB) holds a portion and the
// next one: there, a fifth faster than without. A Zen 4 (32 KiB): what it fetches by itself, in huge pages, is faster than hints at all rows.
// Xeons with AMX, two threads of which share 48 KiB: to the second level. (AMX was measured before sums stayed in registers, and
// not since.)
inline Cache fetched_to() {
#if defined(__AMX_TILE__)
  return Cache::SECOND_LEVEL;
#elif defined(_SC_LEVEL1_DCACHE_SIZE)
  static const Cache cache = sysconf(_SC_LEVEL1_DCACHE_SIZE) >= 48 * 1024 ? Cache::FIRST_LEVEL : Cache::NONE;
  return cache;
#else
  return Cache::NONE;
#endif
}

// Asks for the rows of the portion after `now`, spread over the steps of the work on it. A processor that fetches by itself does so
// along rows that lie side by side, so it is asked for the first ones of a portion elsewhere.
template <int DIM>
class Fetch {
 public:
  Fetch(Portion now, Portion ahead, int64_t steps)
      : to_(fetched_to()), row_(ahead.rows), left_(rows_to_ask_for(now, ahead)), rows_a_step_((left_ + steps - 1) / steps) {}

  void step() {
    for (int64_t i = 0; i < rows_a_step_ && left_ > 0; ++i, --left_, row_ += DIM)
      for (int d = 0; d < DIM; d += 32) {
        const char* line = reinterpret_cast<const char*>(row_ + d);
        if (to_ == Cache::FIRST_LEVEL) _mm_prefetch(line, _MM_HINT_T0);
        else _mm_prefetch(line, _MM_HINT_T1);
      }
  }

 private:
  static constexpr int64_t FIRST_ROWS = 16;

  int64_t rows_to_ask_for(Portion now, Portion ahead) const {
    if (to_ != Cache::NONE) return ahead.count;
    return ahead.rows == now.rows + now.count * DIM ? 0 : std::min(FIRST_ROWS, ahead.count);
  }

  const Cache to_;
  const uint16_t* row_;
  int64_t left_;
  const int64_t rows_a_step_;
};

#endif

}  // namespace qwen_batch
