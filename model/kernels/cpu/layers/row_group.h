// Rows that go through the layers together, with their sequences. Sequences that decode come first, with one row each;
// prompts follow.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "layer_steps.h"
#include "overlap.h"

namespace qwen_batch {

class RowGroup {
 public:
  RowGroup(const Model& model, const StepRows& step) : RowGroup(model, step.rows, step.decode, step.prefill) {
    if (prefill_.sequences > 0) plan_.emplace(prefill_);
    if (step.last) last_.reset(new RowGroup(*this, *step.last));
  }

  RowGroup(const RowGroup&) = delete;
  RowGroup& operator=(const RowGroup&) = delete;

  const LayerRows& rows() const { return rows_; }

  // Returns the group that attends in `layer` and continues from there. This is usually the group itself. If only the
  // last rows are wanted, it is the group of the last rows in the last layer; this call then copies their data there.
  const RowGroup& to_attend(const Member& member, int64_t layer) const {
    if (!last_ || layer + 1 < model_.num_layers()) return *this;
    gather_last_rows(member);
    member.wait();
    return *last_;
  }

  // Returns the member's share of decode attention, to be done while all members multiply with `bytes` of weights.
  Overlap decoding(const Member& member, int64_t layer, int64_t bytes) const {
    return {decode_step(layer), borders_[member.first], borders_[member.last],
            bytes * (member.last - member.first) / member.team.parts()};
  }

  void attend(const Member& member, int64_t layer) const {
    for (AttentionShare<uint16_t> share(decode_step(layer), borders_[member.first], borders_[member.last]);
         !share.done();)
      share.block();
    attend_to_prompts(member, layer);
  }

  void attend_to_prompts(const Member& member, int64_t layer) const {
    if (plan_) plan_->attend(member, prefill_step(layer));
  }

 private:
  RowGroup(const Model& model, const LayerRows& rows, const DecodeBatch& decode, const PrefillBatch& prefill)
      : model_(model),
        rows_(rows),
        decode_(decode),
        prefill_(prefill),
        borders_(decode.borders(torch::stable::get_num_threads())) {}

  // The group of the last rows of the sequences in `all`.
  RowGroup(const RowGroup& all, const LayerRows& rows) : RowGroup(all.model_, rows, all.decode_, all.prefill_) {
    for (int64_t s = 0; s <= prefill_.sequences; ++s) one_row_each_.push_back(static_cast<int32_t>(s));
    prefill_.query_start = one_row_each_.data();
    if (all.plan_) plan_.emplace(all.plan_->with_queries_of(prefill_));
  }

  // Copies the hidden states and queries of the last rows to the buffers of `last_`. Each member copies its share.
  void gather_last_rows(const Member& member) const {
    const int64_t hidden = model_.sizes.hidden, queries = model_.sizes.heads * model_.sizes.dim,
                  decoding = decode_.sequences;
    const LayerRows& to = last_->rows_;
    for (int64_t i = member.begin(to.count); i < member.end(to.count); ++i) {
      const int64_t row = i < decoding ? i : decoding + prefill_.query_start[i - decoding + 1] - 1;
      std::memcpy(to.hidden + i * hidden, rows_.hidden + row * hidden, hidden * sizeof(uint16_t));
      std::memcpy(to.queries + i * queries, rows_.queries + row * queries, queries * sizeof(uint16_t));
    }
  }

  DecodeStep<uint16_t> decode_step(int64_t layer) const {
    return {.batch = decode_, .queries = rows_.queries, .cache = model_.caches[layer], .out = rows_.narrow};
  }

  PrefillStep prefill_step(int64_t layer) const {
    const int64_t prompts_at = decode_.sequences * model_.sizes.heads * model_.sizes.dim;
    return {
        .batch = prefill_,
        .q = rows_.queries + prompts_at,
        .cache = model_.caches[layer],
        .out = rows_.narrow + prompts_at,
    };
  }

  const Model& model_;
  const LayerRows rows_;
  const DecodeBatch decode_;
  PrefillBatch prefill_;
  const std::vector<int64_t> borders_;
  std::optional<PrefillPlan> plan_;
  std::vector<int32_t> one_row_each_;
  std::unique_ptr<RowGroup> last_;
};

}  // namespace qwen_batch
