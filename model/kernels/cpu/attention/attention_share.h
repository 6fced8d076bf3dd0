// A thread's share of a step's decode attention. It is done one block of tokens at a time, so that the thread can do
// other work between blocks.
//
// Sequences whose tables begin with the same pages attend to these pages in lock-step: all of them to the first block,
// then all to the second. A page is then read from memory once for all of them, and from the second-level cache by
// most. Each sequence's own operations keep their order, so its bits do not depend on whom it shares pages with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "decode_step.h"
#include "read_ahead.h"

namespace qwen_batch {

constexpr int64_t MAX_GROUP = 4;  // query heads worked on together; larger groups take several rounds
constexpr int64_t MAX_RUN = 8;    // max kv heads that one run works on in turn
constexpr int64_t MAX_GANG = 16;  // max runs in lock-step; beside a page, their sums must fit the second-level cache

// Attention of some query heads over a run of kv heads of one sequence.
class RunAttention {
 public:
  virtual ~RunAttention() = default;

  // Works on the next block of tokens. Returns true if another block follows; otherwise the result has been written.
  virtual bool block() = 0;

  // Returns the tiles that the next blocks read, if known.
  virtual std::optional<KvTiles> upcoming() const { return std::nullopt; }
};

// Returns whether attention with heads of size `dim` in such pages works block by block, with vectors.
template <typename T>
bool attends_by_vectors(int64_t dim, int64_t page_size) {
  return std::is_same_v<T, uint16_t> && page_size % BLOCK == 0 && (dim == 32 || dim == 64 || dim == 128);
}

// Returns the attention of `heads` kv heads, starting at `item`. Of each kv head's group it takes up to MAX_GROUP query
// heads, starting at number `round`. `end` is the end of the thread's items: the first keys of the next item before
// `end` are prefetched.
template <typename T>
std::unique_ptr<RunAttention> run_at(const DecodeStep<T>& step, int64_t item, int64_t heads, int64_t round,
                                     int64_t end);

template <typename T>
class AttentionShare {
 public:
  // The share is the items from `begin` up to `end`.
  AttentionShare(const DecodeStep<T>& step, int64_t begin, int64_t end) : step_(step), item_(begin), end_(end) {
    start();
  }

  bool done() const { return item_ >= end_; }

  // Returns how many calls of `block` remain from the start of the current item.
  int64_t blocks() const {
    int64_t count = 0;
    for (int64_t item = item_; item < end_; item += heads_from(item))
      count += by_vectors() ? rounds_per_item() * ((batch().context_of(item) + BLOCK - 1) / BLOCK) : 1;
    return count;
  }

  void block() {
    const bool has_more = gang_[at_]->block();
    if (blocks_done_ < shared_blocks_) {
      if (++at_ < gang_.size()) return;
      at_ = 0;
      ++blocks_done_;
      return;
    }
    if (has_more) return;
    gang_[at_].reset();
    if (++at_ < gang_.size()) return;
    item_ = gang_end_;
    start();
  }

  std::optional<KvTiles> upcoming() const { return done() ? std::nullopt : gang_[at_]->upcoming(); }

 private:
  const DecodeBatch& batch() const { return step_.batch; }

  bool by_vectors() const { return attends_by_vectors<T>(batch().dim, batch().page_size); }

  int64_t heads_from(int64_t item) const {
    return std::min({MAX_RUN, batch().heads - item % batch().heads, end_ - item});
  }

  // Begins with the sequence of the next item, and with those after it that share its first pages.
  void start() {
    gang_.clear();
    at_ = 0;
    blocks_done_ = shared_blocks_ = 0;
    if (done()) return;
    const int64_t rounds = by_vectors() ? rounds_per_item() : 1, heads = heads_from(item_);
    gang_end_ = item_ + heads;
    if (by_vectors() && heads == batch().heads) find_sharers(MAX_GANG / rounds);
    for (int64_t item = item_; item < gang_end_; item += heads)
      for (int64_t round = 0; round < rounds; ++round)
        gang_.push_back(run_at(step_, item, heads, round * MAX_GROUP, end_));
  }

  // Extends `gang_end_` to the last of at most `most` adjacent sequences that all begin with the same pages. Sets the
  // number of blocks that they go through in lock-step. At least one block of each sequence remains after these.
  void find_sharers(int64_t most) {
    const int64_t heads = batch().heads;
    for (int64_t count = 1; count < most && gang_end_ + heads <= end_; ++count, gang_end_ += heads) {
      const int64_t common = common_blocks(item_, gang_end_);
      if (common < std::max<int64_t>(1, shared_blocks_)) return;
      if (count == 1) shared_blocks_ = common;
    }
  }

  // Returns the number of blocks that two sequences read from the same pages, without the last block of each.
  int64_t common_blocks(int64_t item, int64_t other) const {
    const int32_t *pages = batch().sequence_of(item).pages, *others = batch().sequence_of(other).pages;
    const int64_t longest = (std::min(batch().context_of(item), batch().context_of(other)) - 1) / BLOCK;
    const int64_t per_page = batch().page_size / BLOCK;
    int64_t count = 0;
    while (count < longest && pages[count / per_page] == others[count / per_page]) ++count;
    return count;
  }

  int64_t rounds_per_item() const { return (batch().group() + MAX_GROUP - 1) / MAX_GROUP; }

  const DecodeStep<T> step_;
  int64_t item_, gang_end_ = 0;  // the gang has the items from the first up to the second
  const int64_t end_;
  std::vector<std::unique_ptr<RunAttention>> gang_;  // runs of sequences that share pages, or of one sequence
  size_t at_ = 0;                                    // index of the run that does the next block
  int64_t shared_blocks_ = 0;                        // blocks that all runs go through in lock-step
  int64_t blocks_done_ = 0;                          // how many of them all runs have done
};

}  // namespace qwen_batch
