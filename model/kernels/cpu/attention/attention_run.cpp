// Attention of query heads over one sequence, block by block. The code is compiled only here, because every combination
// of head size and group is a function of its own.

#include "attention_share.h"
#include "softmax_rows.h"
#include "vector_attention.h"

namespace qwen_batch {
namespace attention_run_detail {
namespace {

template <typename T>
class PlainRun final : public RunAttention {
 public:
  PlainRun(const Item& item, const Run<T>& run, int64_t group, int64_t dim)
      : item_(item), run_(run), group_(group), dim_(dim) {}

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

// Attends with GROUP of the `group` query heads of each kv head. The heads of a page lie side by side and are read in
// that order. Each block of tokens takes two passes: first the keys of all heads, then their values. While one tile is
// used, the next tile is prefetched. `next`: the keys that the thread reads after this run.
template <int DIM, int GROUP>
class VectorRun final : public RunAttention {
 public:
  VectorRun(const Item& item, const Run<uint16_t>& run, int64_t group, KvTile next)
      : run_(run), group_(group), scale_(item.scale * LOG2_E), work_(item, run, DIM, next), ahead_(work_) {
    for (int64_t h = 0; h < run.heads; ++h) heads_[h].emplace(run.q + h * group * DIM);
    ahead_.next();
  }

  bool block() override {
    const VisibleKeys visible{.first_row = static_cast<int>(work_.count()), .more_per_row = 0};
    for (int64_t h = 0; h < run_.heads; ++h) heads_[h]->score(work_.next(), ahead_.next(), score_ + h * GROUP * BLOCK);
    softmax_.online_softmax(score_, weight_, static_cast<int>(run_.heads) * GROUP, visible, scale_);
    for (int64_t h = 0; h < run_.heads; ++h)
      heads_[h]->accumulate(work_.next(), ahead_.next(), weight_ + h * GROUP * BLOCK,
                            softmax_.rescale_factors() + h * GROUP);
    if (!work_.at_end()) return true;
    for (int64_t h = 0; h < run_.heads; ++h) heads_[h]->write(softmax_.sums() + h * GROUP, run_.out + h * group_ * DIM);
    return false;
  }

  std::optional<KvTiles> upcoming() const override { return work_; }

 private:
  static constexpr int ROWS = MAX_RUN * GROUP;

  const Run<uint16_t> run_;
  const int64_t group_;
  const float scale_;
  KvTiles work_, ahead_;
  std::optional<Attention<DIM, GROUP>> heads_[MAX_RUN];
  SoftmaxRows<(ROWS + 15) / 16 * 16, BLOCK> softmax_;
  alignas(64) float score_[ROWS * BLOCK];  // softmax_ ignores what lies beyond a block's tokens
  alignas(64) RowValue weight_[ROWS * BLOCK];
};

template <int DIM>
std::unique_ptr<RunAttention> vector_run_of(int64_t query_heads, const Item& item, const Run<uint16_t>& run,
                                            int64_t group, KvTile next) {
  switch (query_heads) {
    case 1: return std::make_unique<VectorRun<DIM, 1>>(item, run, group, next);
    case 2: return std::make_unique<VectorRun<DIM, 2>>(item, run, group, next);
    case 3: return std::make_unique<VectorRun<DIM, 3>>(item, run, group, next);
    default: return std::make_unique<VectorRun<DIM, 4>>(item, run, group, next);
  }
}

std::unique_ptr<RunAttention> vector_run(const DecodeStep<uint16_t>& step, const Item& sequence,
                                         const Run<uint16_t>& run, int64_t query_heads, KvTile next) {
  switch (step.batch.dim) {
    case 32: return vector_run_of<32>(query_heads, sequence, run, step.batch.group(), next);
    case 64: return vector_run_of<64>(query_heads, sequence, run, step.batch.group(), next);
    default: return vector_run_of<128>(query_heads, sequence, run, step.batch.group(), next);
  }
}

}  // namespace
}  // namespace attention_run_detail

template <typename T>
std::unique_ptr<RunAttention> run_at(const DecodeStep<T>& step, int64_t item, int64_t heads, int64_t round,
                                     int64_t end) {
  using namespace attention_run_detail;
  const DecodeBatch& batch = step.batch;
  const Item sequence = batch.sequence_of(item);
  const Run<T> run = step.run(item, heads);
  if constexpr (std::is_same_v<T, uint16_t>) {
    if (attends_by_vectors<T>(batch.dim, batch.page_size)) {
      const int64_t query_heads = std::min(MAX_GROUP, batch.group() - round), after = item + heads;
      const KvTile next =
          after < end ? KvTile{step.first_key(after), std::min<int64_t>(BLOCK, batch.context_of(after))} : KvTile{};
      return vector_run(step, sequence, run.from_query(round * batch.dim), query_heads, next);
    }
  }
  return std::make_unique<PlainRun<T>>(sequence, run, batch.group(), batch.dim);
}

template std::unique_ptr<RunAttention> run_at(const DecodeStep<uint16_t>&, int64_t, int64_t, int64_t, int64_t);
template std::unique_ptr<RunAttention> run_at(const DecodeStep<float>&, int64_t, int64_t, int64_t, int64_t);

}  // namespace qwen_batch
