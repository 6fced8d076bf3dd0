// Decode attention done beside products. A product is bound by arithmetic and attention by memory: so what a thread attends to
// next is fetched into its second-level cache while it multiplies a block of weights, and worked on after that block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "attention_share.h"

namespace qwen_batch {

constexpr int64_t LINE = 64;  // bytes of a cache line

// Walks through the cache lines of a block of tokens, in the order in which attention reads them.
class BlockLines {
 public:
  BlockLines() = default;
  BlockLines(const Portions& portions, int64_t dim) : portions_(portions), row_bytes_(dim * sizeof(uint16_t)) {
    Portions counted = portions;
    for (int64_t i = 0; i < portions.a_block(); ++i) count_ += counted.following().count * row_bytes_ / LINE;
  }

  int64_t count() const { return count_; }

  // The next line, while `count` is not 0.
  const char* next() {
    if (at_ == end_) {
      const Portion portion = portions_->following();
      at_ = reinterpret_cast<const char*>(portion.rows);
      end_ = at_ + portion.count * row_bytes_;
    }
    --count_;
    at_ += LINE;
    return at_ - LINE;
  }

 private:
  std::optional<Portions> portions_;
  int64_t row_bytes_ = 0, count_ = 0;
  const char *at_ = nullptr, *end_ = nullptr;
};

// A thread's share of attention, to be done evenly while it multiplies with `bytes` of weights.
class Beside {
 public:
  Beside(const DecodeStep<uint16_t>& step, int64_t begin, int64_t end, int64_t bytes)
      : share_(step, begin, end), dim_(step.dim), bytes_a_block_(std::max<int64_t>(1, bytes / std::max<int64_t>(1, share_.blocks()))) {
    look_ahead();
  }

  // What the next block of attention reads, and how much of it to fetch while `bytes` of weights are multiplied.
  BlockLines& lines() { return lines_; }
  int64_t lines_during(int64_t bytes) const {
    const int64_t until_due = std::max<int64_t>(1, bytes_a_block_ - since_block_);
    return bytes >= until_due ? lines_.count() : lines_.count() * bytes / until_due;
  }

  // To be called when they have been.
  void multiplied(int64_t bytes) {
    for (since_block_ += bytes; since_block_ >= bytes_a_block_ && !share_.done(); since_block_ -= bytes_a_block_) {
      share_.block();
      look_ahead();
    }
  }

  void finish() {
    while (!share_.done()) share_.block();
  }

 private:
  void look_ahead() {
    const auto portions = share_.to_come();
    lines_ = portions ? BlockLines(*portions, dim_) : BlockLines();
  }

  AttentionShare<uint16_t> share_;
  const int64_t dim_, bytes_a_block_;
  int64_t since_block_ = 0;
  BlockLines lines_;
};

}  // namespace qwen_batch
