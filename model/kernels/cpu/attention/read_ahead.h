// The order in which decode attention reads keys and values, and how it prefetches the next tile.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "plain_attention.h"

namespace qwen_batch {

constexpr int64_t BLOCK = 64;  // tokens per block of work; the page size is a multiple of it

// Adjacent rows (keys or values) of one head, at most BLOCK.
struct KvTile {
  const uint16_t* rows = nullptr;
  int64_t count = 0;
};

// Walks through a run's tiles in the order in which attention uses them. For each block of tokens these are the keys of
// all heads, then the values of all heads. After the last block it returns `next_keys`, the keys that the thread reads
// after this run.
class KvTiles {
 public:
  KvTiles(const Item& item, const Run<uint16_t>& run, int64_t dim, KvTile next_keys)
      : item_(item), run_(run), dim_(dim), next_keys_(next_keys) {}

  KvTile next() {
    if (first_ >= item_.context) return next_keys_;
    const int64_t at = item_.place(first_, dim_) + head_ * item_.page_size * dim_;
    const KvTile tile{(values_ ? run_.values : run_.keys) + at, count()};
    if (++head_ == run_.heads) {
      head_ = 0;
      if (values_) first_ += BLOCK;
      values_ = !values_;
    }
    return tile;
  }

  // Returns the number of tokens in the current block.
  int64_t count() const { return std::min(BLOCK, item_.context - first_); }

  bool at_end() const { return first_ >= item_.context; }

  // Returns the number of tiles per block of tokens.
  int64_t per_block() const { return 2 * run_.heads; }

 private:
  Item item_;
  Run<uint16_t> run_;
  int64_t dim_;
  KvTile next_keys_;
  int64_t first_ = 0, head_ = 0;
  bool values_ = false;
};

enum class Cache { NONE, FIRST_LEVEL, SECOND_LEVEL };

// Returns the cache level to prefetch into, as measured with benchmarks/decode_attention.py.
// - Zen 5 (48 KiB of first-level cache, which hold this tile and the next): into the first level; a fifth faster than
//   without.
// - Zen 4 (32 KiB): none. In huge pages its hardware prefetcher alone is faster than hints for all rows.
// - Xeons with AMX (two threads share 48 KiB): into the second level. This was measured before sums stayed in
//   registers, and not since.
inline Cache prefetch_level() {
#if defined(__AMX_TILE__)
  return Cache::SECOND_LEVEL;
#elif defined(_SC_LEVEL1_DCACHE_SIZE)
  static const Cache cache = sysconf(_SC_LEVEL1_DCACHE_SIZE) >= 48 * 1024 ? Cache::FIRST_LEVEL : Cache::NONE;
  return cache;
#else
  return Cache::NONE;
#endif
}

// Prefetches the rows of `next`, spread over the steps of the work on `now`. A hardware prefetcher follows adjacent
// rows by itself. Where only that is used, hints cover just the first rows of a tile that lies elsewhere.
template <int DIM>
class TilePrefetcher {
 public:
  TilePrefetcher(KvTile now, KvTile next, int64_t steps)
      : to_(prefetch_level()),
        row_(next.rows),
        left_(rows_to_prefetch(now, next)),
        rows_per_step_((left_ + steps - 1) / steps) {}

  void step() {
    for (int64_t i = 0; i < rows_per_step_ && left_ > 0; ++i, --left_, row_ += DIM)
      for (int d = 0; d < DIM; d += 32) {
        const char* line = reinterpret_cast<const char*>(row_ + d);
        if (to_ == Cache::FIRST_LEVEL) __builtin_prefetch(line, 0, 3);
        else __builtin_prefetch(line, 0, 2);
      }
  }

 private:
  static constexpr int64_t FIRST_ROWS = 16;

  int64_t rows_to_prefetch(KvTile now, KvTile next) const {
    if (to_ != Cache::NONE) return next.count;
    return next.rows == now.rows + now.count * DIM ? 0 : std::min(FIRST_ROWS, next.count);
  }

  const Cache to_;
  const uint16_t* row_;
  int64_t left_;
  const int64_t rows_per_step_;
};

}  // namespace qwen_batch
