// The router of a layer with experts: which experts a row gets, and how much each of them counts. A row's choice
// depends on that row alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "rows.h"

namespace qwen_batch {

// Returns the product of a bfloat16 row and a float32 row of n values, with float32 sums.
inline float router_logit(const uint16_t* x, const float* weight, int64_t n) {
  Floats even = zeros(), odd = zeros();  // two chains, because one would wait for its own sums
  int64_t i = 0;
  for (; i + 2 * LANES <= n; i += 2 * LANES) {
    even = multiply_add(load_row(x + i), load(weight + i), even);
    odd = multiply_add(load_row(x + i + LANES), load(weight + i + LANES), odd);
  }
  if (i < n) even = multiply_add(load_row(x + i), load(weight + i), even);
  return sum_of_lanes(even + odd);
}

// Chooses the `per_row` experts with the largest of `count` logits; of equal ones, the lower one. Writes them in rising
// order, and their shares of the softmax over all experts, divided by their sum if `normalise`. `logits` are
// overwritten.
inline void choose_experts(float* logits, int64_t count, int64_t per_row, bool normalise, int64_t* chosen,
                           float* weights) {
  const float highest = *std::max_element(logits, logits + count);
  float total = 0;
  for (int64_t expert = 0; expert < count; ++expert) {
    logits[expert] = std::exp(logits[expert] - highest);
    total += logits[expert];
  }
  const auto is_chosen = [&](int64_t expert, int64_t places) {
    return std::find(chosen, chosen + places, expert) != chosen + places;
  };
  for (int64_t place = 0; place < per_row; ++place) {
    int64_t best = -1;
    for (int64_t expert = 0; expert < count; ++expert)
      if ((best < 0 || logits[expert] > logits[best]) && !is_chosen(expert, place)) best = expert;
    chosen[place] = best;
  }
  std::sort(chosen, chosen + per_row);
  if (normalise) {
    total = 0;
    for (int64_t place = 0; place < per_row; ++place) total += logits[chosen[place]];
  }
  for (int64_t place = 0; place < per_row; ++place) weights[place] = logits[chosen[place]] / total;
}

}  // namespace qwen_batch
