// Decode attention that overlaps matrix products. Products are compute-bound, attention is memory-bound. While a thread
// multiplies a block of weights, it prefetches the next keys or values into its second-level cache. After that block it
// attends to them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "attention_share.h"

namespace qwen_batch {

constexpr int64_t LINE = 64;  // bytes per cache line

// Walks through the cache lines of a block of tokens, in the order in which attention reads them.
class BlockLines {
 public:
  BlockLines() = default;
  BlockLines(const KvTiles& tiles, int64_t dim) : tiles_(tiles), row_bytes_(dim * sizeof(uint16_t)) {
    KvTiles counted = tiles;
    for (int64_t i = 0; i < tiles.per_block(); ++i) count_ += counted.next().count * row_bytes_ / LINE;
  }

  int64_t count() const { return count_; }

  // Returns the next line. `count` must not be 0.
  const char* next() {
    if (at_ == end_) {
      const KvTile tile = tiles_->next();
      at_ = reinterpret_cast<const char*>(tile.rows);
      end_ = at_ + tile.count * row_bytes_;
    }
    --count_;
    at_ += LINE;
    return at_ - LINE;
  }

 private:
  std::optional<KvTiles> tiles_;
  int64_t row_bytes_ = 0, count_ = 0;
  const char *at_ = nullptr, *end_ = nullptr;
};

// A thread's share of attention, which it does in even portions while it multiplies with `bytes` of weights.
class Overlap {
 public:
  Overlap(const DecodeStep<uint16_t>& step, int64_t begin, int64_t end, int64_t bytes)
      : share_(step, begin, end),
        dim_(step.batch.dim),
        bytes_per_block_(std::max<int64_t>(1, bytes / std::max<int64_t>(1, share_.blocks()))) {
    look_ahead();
  }

  // The lines that the next block of attention reads, and how many of them to prefetch while `bytes` of weights are
  // multiplied.
  BlockLines& lines() { return lines_; }
  int64_t lines_during(int64_t bytes) const {
    const int64_t until_due = std::max<int64_t>(1, bytes_per_block_ - since_block_);
    return bytes >= until_due ? lines_.count() : lines_.count() * bytes / until_due;
  }

  // Call after `bytes` of weights have been multiplied: does the attention that is due.
  void multiplied(int64_t bytes) {
    for (since_block_ += bytes; since_block_ >= bytes_per_block_ && !share_.done(); since_block_ -= bytes_per_block_) {
      share_.block();
      look_ahead();
    }
  }

  void finish() {
    while (!share_.done()) share_.block();
  }

 private:
  void look_ahead() {
    const auto tiles = share_.upcoming();
    lines_ = tiles ? BlockLines(*tiles, dim_) : BlockLines();
  }

  AttentionShare<uint16_t> share_;
  const int64_t dim_, bytes_per_block_;
  int64_t since_block_ = 0;
  BlockLines lines_;
};

}  // namespace qwen_batch
