// The rows of a product in bfloat16, as dot_block.h reads them, and the passes into which they are cut.
//
// Processors with an instruction for bfloat16 read the rows as they are. Others widen them to float32 once, before the
// product. Widened rows lie in the order in which they are read: the first 16 values of each row of a pass, then their
// next 16 values, and so on. Plain rows would lie some KiB apart. Their values may then drive each other out of the
// first-level cache, though no cache misses were measured.
#pragma once

#include <algorithm>
#include <cstdint>

#include "product.h"
#include "rows.h"

namespace qwen_batch {

constexpr int MAX_ROWS = 6;                    // rows per pass
constexpr int64_t PIECE_ROWS = 20 * MAX_ROWS;  // rows per piece of a block: tenths of a millisecond of work

inline int64_t passes_of(int64_t rows) { return (rows + MAX_ROWS - 1) / MAX_ROWS; }

// Calls `work(row, count)` for each pass: the `count` rows from `row` on are multiplied together. The passes have about
// equally many rows, because a short pass would wait for its own sums.
template <typename Work>
void for_each_pass(int64_t begin, int64_t end, const Work& work) {
  for (int64_t passes = passes_of(end - begin); passes > 0; --passes) {
    const int64_t count = (end - begin + passes - 1) / passes;
    work(begin, count);
    begin += count;
  }
}

class ProductRows {
 public:
  explicit ProductRows(const Product& product)
      : rows_(product.rows), k_(product.weight.k), plain_(product.x), widened_(static_cast<float*>(product.scratch)) {
    values_ = static_cast<const RowValue*>(WIDENS_ROWS ? product.scratch : static_cast<const void*>(product.x));
  }

  // Bytes of scratch that the widened rows need.
  static int64_t bytes(int64_t rows, int64_t k) {
    return WIDENS_ROWS ? rows * widened_size(k) * static_cast<int64_t>(sizeof(float)) : 0;
  }

  // Widens the member's share of all rows, if the kernel needs this, and waits for the other members.
  void widen(const Member& member) const {
    if constexpr (!WIDENS_ROWS) return;
    for (int64_t begin = 0; begin < rows_; begin += PIECE_ROWS)
      for_each_pass(begin, std::min(begin + PIECE_ROWS, rows_),
                    [&](int64_t row, int64_t count) { widen_pass(member, row, count); });
    member.wait();
  }

  // Returns where the pass of `count` rows from `row` on begins, at place `at` along k. `at` is a multiple of LANES.
  const RowValue* pass(int64_t row, int64_t count, int64_t at) const {
    return WIDENS_ROWS ? values_ + row * widened_size(k_) + at * count : values_ + row * k_ + at;
  }

  // The distance between the rows of a pass, and from one part of LANES values to the next.
  int64_t row_stride() const { return WIDENS_ROWS ? LANES : k_; }
  static constexpr int64_t lanes_stride(int64_t count) { return WIDENS_ROWS ? count * LANES : LANES; }

 private:
  static int64_t widened_size(int64_t k) { return (k + LANES - 1) / LANES * LANES; }

  void widen_pass(const Member& member, int64_t row, int64_t count) const {
    const int64_t parts = widened_size(k_) / LANES;
    float* to = widened_ + row * widened_size(k_) + member.begin(parts) * count * LANES;
    for (int64_t part = member.begin(parts); part < member.end(parts); ++part)
      for (int64_t r = 0; r < count; ++r, to += LANES)
        store(to, load_some(plain_ + (row + r) * k_ + part * LANES, k_ - part * LANES));
  }

  const int64_t rows_, k_;
  const uint16_t* plain_;
  float* widened_;
  const RowValue* values_;  // plain or widened
};

}  // namespace qwen_batch
