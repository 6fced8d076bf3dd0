// A thread's share of a step's decode attention, done a block of tokens at a time, so that other work may come in between.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include "decode_step.h"
#include "vector_attention.h"

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

template <typename T>
class PlainRun final : public RunAttention {
 public:
  PlainRun(const Item& item, const Run<T>& run, int64_t group, int64_t dim) : item_(item), run_(run), group_(group), dim_(dim) {}

  bool block() override {
    for (int64_t g = 0; g < run_.heads * group_; ++g) {
      const int64_t head = g / group_ * item_.page_size * dim_;
      attend_plain(item_, run_.q + g * dim_, run_.keys + head, run_.values + head, run_.out + g * dim_, dim_);
    }
    return false;
  }

 private:
  const Item item_;
  const Run<T> run_;
  const int64_t group_, dim_;
};

#if QWEN_BATCH_HAS_AVX512_BF16

// GROUP of each kv head's `group` query heads. The heads of a page lie side by side and are read in that order, block after
// block: all keys, then all values, each fetched while those before it are worked on. `next`: keys of what follows.
template <int DIM, int GROUP>
class VectorRun final : public RunAttention {
 public:
  VectorRun(const Item& item, const Run<uint16_t>& run, int64_t group, Portion next)
      : run_(run), group_(group), work_(item, run, DIM, next), ahead_(work_) {
    for (int64_t h = 0; h < run.heads; ++h) heads_[h].emplace(item, run.q + h * group * DIM);
    ahead_.following();
  }

  bool block() override {
    for (int64_t h = 0; h < run_.heads; ++h) heads_[h]->weigh(work_.following(), ahead_.following());
    for (int64_t h = 0; h < run_.heads; ++h) heads_[h]->accumulate(work_.following(), ahead_.following());
    if (!work_.at_end()) return true;
    for (int64_t h = 0; h < run_.heads; ++h) heads_[h]->store(run_.out + h * group_ * DIM);
    return false;
  }

  std::optional<Portions> to_come() const override { return work_; }

 private:
  const Run<uint16_t> run_;
  const int64_t group_;
  Portions work_, ahead_;
  std::optional<Attention<DIM, GROUP>> heads_[MAX_RUN];
};

template <int DIM>
std::unique_ptr<RunAttention> vector_run_of(int64_t now, const Item& item, const Run<uint16_t>& run, int64_t group, Portion next) {
  switch (now) {
    case 1: return std::make_unique<VectorRun<DIM, 1>>(item, run, group, next);
    case 2: return std::make_unique<VectorRun<DIM, 2>>(item, run, group, next);
    case 3: return std::make_unique<VectorRun<DIM, 3>>(item, run, group, next);
    default: return std::make_unique<VectorRun<DIM, 4>>(item, run, group, next);
  }
}

#endif

// Whether heads of `dim` in such pages are worked on block by block.
template <typename T>
bool attends_by_vectors(int64_t dim, int64_t page_size) {
  return QWEN_BATCH_HAS_AVX512_BF16 && std::is_same_v<T, uint16_t> && page_size % BLOCK == 0 && (dim == 32 || dim == 64 || dim == 128);
}

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
    if (done()) return;
    const Item sequence = step_.sequence_of(item_);
    const Run<T> run = step_.run(item_, heads_from(item_));
#if QWEN_BATCH_HAS_AVX512_BF16
    if constexpr (std::is_same_v<T, uint16_t>) {
      if (by_vectors()) {
        run_ = vector_run(sequence, run.from_query(round_ * step_.dim));
        return;
      }
    }
#endif
    run_ = std::make_unique<PlainRun<T>>(sequence, run, step_.group(), step_.dim);
  }

#if QWEN_BATCH_HAS_AVX512_BF16
  std::unique_ptr<RunAttention> vector_run(const Item& sequence, const Run<uint16_t>& run) const {
    const int64_t now = std::min(MAX_GROUP, step_.group() - round_), after = item_ + run.heads;
    const Portion next = after < end_ ? Portion{step_.first_key(after), std::min<int64_t>(BLOCK, step_.context_of(after))} : Portion{};
    switch (step_.dim) {
      case 32: return vector_run_of<32>(now, sequence, run, step_.group(), next);
      case 64: return vector_run_of<64>(now, sequence, run, step_.group(), next);
      default: return vector_run_of<128>(now, sequence, run, step_.group(), next);
    }
  }
#endif

  const DecodeStep<T> step_;
  int64_t item_, round_ = 0;
  const int64_t end_;
  std::unique_ptr<RunAttention> run_;
};

}  // namespace qwen_batch
