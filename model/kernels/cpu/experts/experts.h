// The experts of a step's rows: a router gives each row its experts, and the row is multiplied with their weights.
//
// Computes the same as `experts` of model/ops/experts.py. A row's bits depend on that row alone: whoever computes a
// product, each of its elements is one chain over k, and a row adds its experts in rising order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "product.h"

namespace qwen_batch {

struct MlpWeights {
  PackedWeight gate_up, down;
};

struct ExpertSizes {
  int64_t hidden, intermediate;
  int64_t count, per_row;  // experts in all, and experts of a row
  bool normalise;          // whether a row's weights are divided by their sum
};

// The weights of a layer's experts.
struct Experts {
  const float* router;  // [count, hidden]
  const std::vector<MlpWeights>& mlps;
};

// Which rows an expert gets. The entries (row, place) lie expert by expert, and rising by row inside.
class ExpertOrder {
 public:
  ExpertOrder(const ExpertSizes& sizes, int64_t max_rows)
      : per_row_(sizes.per_row),
        begin_(sizes.count + 1),
        next_(sizes.count),
        row_(max_rows * sizes.per_row),
        entry_(max_rows * sizes.per_row) {
    busy_.reserve(sizes.count);
  }

  // `chosen` [rows, per_row]: the experts of each row, in rising order. Allocates no memory.
  void sort(const int64_t* chosen, int64_t rows);

  int64_t begin(int64_t expert) const { return begin_[expert]; }
  int64_t end(int64_t expert) const { return begin_[expert + 1]; }
  int64_t row_at(int64_t entry) const { return row_[entry]; }
  // The entry of an expert of a row: the one at `place` in the row's list.
  int64_t entry(int64_t row, int64_t place) const { return entry_[row * per_row_ + place]; }
  // The experts that have rows, those with the most rows first.
  const std::vector<int64_t>& busy() const { return busy_; }

 private:
  int64_t per_row_;
  std::vector<int64_t> begin_, next_, row_, entry_, busy_;
};

// Memory for the experts of at most `max_rows` rows.
class ExpertMemory {
 public:
  ExpertMemory(const ExpertSizes& sizes, const MlpWeights& mlp, int64_t max_rows);

  ExpertSizes sizes;
  ExpertOrder order;
  float *logits, *weights;         // [rows, count], and [rows, per_row]
  int64_t* chosen;                 // [rows, per_row]
  uint16_t *gathered, *projected;  // [rows * per_row, hidden], in the order of the entries: the rows, and the results
  char* buffers;                   // a buffer for each part of the team
  int64_t buffer_bytes;

 private:
  Scratch memory_;
};

// Returns whether `tensor` is contiguous float32 [experts, hidden].
bool is_router(const torch::stable::Tensor& tensor, int64_t experts, int64_t hidden);

// Computes `out` [rows, hidden] of `x` [rows, hidden]: the member's share. Afterwards each member may use its own share
// of rows without a wait.
void run_experts(const Member& member, const Experts& experts, ExpertMemory& memory, const uint16_t* x, uint16_t* out,
                 int64_t rows);

}  // namespace qwen_batch
