// A thread's share of a step's decode attention, done a block of tokens at a time, so that other work may come in between.
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
constexpr int64_t MAX_RUN = 8;    // kv heads worked on in turn

// Some query heads of each of a run of kv heads of one sequence.
class RunAttention {
 public:
  virtual ~RunAttention() = default;

  // Works on the next block of tokens. Whether there is another; if not, the result is written.
  virtual bool block() = 0;

  // What the next blocks read.
  virtual std::optional<Portions> to_come() const { return std::nullopt; }
};

// Whether heads of `dim` in such pages are worked on block by block.
template <typename T>
bool attends_by_vectors(int64_t dim, int64_t page_size) {
  return QWEN_BATCH_HAS_AVX512 && std::is_same_v<T, uint16_t> && page_size % BLOCK == 0 && (dim == 32 || dim == 64 || dim == 128);
}

// `heads` kv heads from `item` on, of each the query heads of its group from `round` on, at most MAX_GROUP. Items after these are
// read later, up to `end`.
template <typename T>
std::unique_ptr<RunAttention> run_at(const DecodeStep<T>& step, int64_t item, int64_t heads, int64_t round, int64_t end);

template <typename T>
class AttentionShare {
 public:
  // Items `begin` to `end`.
  AttentionShare(const DecodeStep<T>& step, int64_t begin, int64_t end) : step_(step), item_(begin), end_(end) { start(); }

  bool done() const { return item_ >= end_; }

  // How often `block` must be called from the first item on.
  int64_t blocks() const {
    const int64_t rounds = (step_.group() + MAX_GROUP - 1) / MAX_GROUP;
    int64_t count = 0;
    for (int64_t item = item_; item < end_; item += heads_from(item))
      count += by_vectors() ? rounds * ((step_.context_of(item) + BLOCK - 1) / BLOCK) : 1;
    return count;
  }

  void block() {
    if (run_->block()) return;
    if (round_ += MAX_GROUP; !by_vectors() || round_ >= step_.group()) {
      item_ += heads_from(item_);
      round_ = 0;
    }
    start();
  }

  std::optional<Portions> to_come() const { return done() ? std::nullopt : run_->to_come(); }

 private:
  bool by_vectors() const { return attends_by_vectors<T>(step_.dim, step_.page_size); }

  int64_t heads_from(int64_t item) const { return std::min({MAX_RUN, step_.heads - item % step_.heads, end_ - item}); }

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
