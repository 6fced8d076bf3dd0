// A thread's share of a step's decode attention. It is done one block of tokens at a time, so that the thread can do
// other work between blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include "decode_step.h"
#include "read_ahead.h"

namespace qwen_batch {

constexpr int64_t MAX_GROUP = 4;  // query heads worked on together; larger groups take several rounds
constexpr int64_t MAX_RUN = 8;    // max kv heads that one run works on in turn

// Attention of some query heads over a run of kv heads of one sequence.
class RunAttention {
 public:
  virtual ~RunAttention() = default;

  // Works on the next block of tokens. Returns true if another block follows; otherwise the result has been written.
  virtual bool block() = 0;

  // Returns the tiles that the next blocks read, if known.
  virtual std::optional<KvTiles> upcoming() const { return std::nullopt; }
};

// Returns whether attention with heads of size `dim` in such pages works block by block, with vector instructions.
template <typename T>
bool attends_by_vectors(int64_t dim, int64_t page_size) {
  return QWEN_BATCH_HAS_AVX512 && std::is_same_v<T, uint16_t> && page_size % BLOCK == 0 &&
         (dim == 32 || dim == 64 || dim == 128);
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
    const int64_t rounds = (batch().group() + MAX_GROUP - 1) / MAX_GROUP;
    int64_t count = 0;
    for (int64_t item = item_; item < end_; item += heads_from(item))
      count += by_vectors() ? rounds * ((batch().context_of(item) + BLOCK - 1) / BLOCK) : 1;
    return count;
  }

  void block() {
    if (run_->block()) return;
    if (round_ += MAX_GROUP; !by_vectors() || round_ >= batch().group()) {
      item_ += heads_from(item_);
      round_ = 0;
    }
    start();
  }

  std::optional<KvTiles> upcoming() const { return done() ? std::nullopt : run_->upcoming(); }

 private:
  const DecodeBatch& batch() const { return step_.batch; }

  bool by_vectors() const { return attends_by_vectors<T>(batch().dim, batch().page_size); }

  int64_t heads_from(int64_t item) const {
    return std::min({MAX_RUN, batch().heads - item % batch().heads, end_ - item});
  }

  void start() {
    run_.reset();
    if (!done()) run_ = run_at(step_, item_, heads_from(item_), round_, end_);
  }

  const DecodeStep<T> step_;
  int64_t item_, round_ = 0;
  const int64_t end_;
  std::unique_ptr<RunAttention> run_;
};

}  // namespace qwen_batch
