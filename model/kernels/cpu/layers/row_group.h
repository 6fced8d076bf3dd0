// Rows that go through the layers together, and their sequences: first those that decode, a row each, then prompts.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "beside.h"
#include "layer_steps.h"

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

  // The group that attends in a layer and goes on from there: this one, but in the last layer that of the last rows, if only they are
  // wanted. They are then brought there.
  const RowGroup& to_attend(const Member& member, int64_t layer) const {
    if (!last_ || layer + 1 < model_.num_layers()) return *this;
    bring_last(member);
    member.wait();
    return *last_;
  }

  // The member's share of what decodes, to be done while all multiply with `bytes` of weights.
  Beside decoding(const Member& member, int64_t layer, int64_t bytes) const {
    return {at_layer(decode_, layer), borders_[member.first], borders_[member.last], bytes * (member.last - member.first) / member.team.parts()};
  }

  void attend(const Member& member, int64_t layer) const {
    for (AttentionShare<uint16_t> share(at_layer(decode_, layer), borders_[member.first], borders_[member.last]); !share.done();) share.block();
    attend_to_prompts(member, layer);
  }

  void attend_to_prompts(const Member& member, int64_t layer) const {
    if (plan_) plan_->attend(member, at_layer(prefill_, layer));
  }

 private:
  RowGroup(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& decode, const PrefillStep& prefill)
      : model_(model), rows_(rows), decode_(decode), prefill_(prefill) {
    const int64_t prompts_at = decode.sequences * model.sizes.heads * model.sizes.dim;
    decode_.queries = rows.queries;
    decode_.out = rows.narrow;
    prefill_.q = rows.queries + prompts_at;
    prefill_.out = rows.narrow + prompts_at;
    borders_ = decode_.borders(torch::stable::get_num_threads());
  }

  // The last rows of a group's sequences.
  RowGroup(const RowGroup& all, const LayerRows& rows) : RowGroup(all.model_, rows, all.decode_, all.prefill_) {
    for (int64_t s = 0; s <= prefill_.sequences; ++s) one_row_each_.push_back(static_cast<int32_t>(s));
    prefill_.query_start = one_row_each_.data();
    if (all.plan_) plan_.emplace(all.plan_->with_queries_of(prefill_));
  }

  // Each member's share of the last rows' hidden states and queries to where `last_` has them.
  void bring_last(const Member& member) const {
    const int64_t hidden = model_.sizes.hidden, queries = model_.sizes.heads * model_.sizes.dim, decoding = decode_.sequences;
    const LayerRows& to = last_->rows_;
    for (int64_t i = member.begin(to.count); i < member.end(to.count); ++i) {
      const int64_t row = i < decoding ? i : decoding + prefill_.query_start[i - decoding + 1] - 1;
      std::memcpy(to.hidden + i * hidden, rows_.hidden + row * hidden, hidden * sizeof(uint16_t));
      std::memcpy(to.queries + i * queries, rows_.queries + row * queries, queries * sizeof(uint16_t));
    }
  }

  // A step with one layer's cache.
  template <typename Step>
  Step at_layer(Step step, int64_t layer) const {
    step.cache = model_.caches[layer];
    return step;
  }

  const Model& model_;
  const LayerRows rows_;
  DecodeStep<uint16_t> decode_;
  PrefillStep prefill_;
  std::optional<PrefillPlan> plan_;
  std::vector<int64_t> borders_;
  std::vector<int32_t> one_row_each_;
  std::unique_ptr<RowGroup> last_;
};

}  // namespace qwen_batch
