// What the log-softmax of one row needs: the largest logits, and the sum of all exponentials as an integer.
//
// The first pass over the row takes the maxima of groups of logits. They show the largest logit, and which groups hold
// the next ones. The second pass sums up integers, so that no order of summation can change the sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "vector_math.h"

namespace qwen_batch {

// Returns e^x for x <= 0, with an error of about 1 ulp. Uses the Taylor terms of e^r with |r| <= ln(2) / 2.
inline Floats accurate_exp_of_negative(Floats x) {
  // ln(2) as the sum of two numbers: a product of the first with a whole number below 2^9 is exact.
  constexpr float LN_2_HIGH = 0x1.62e4p-1f, LN_2_LOW = 0x1.7f7d1cp-20f;
  const Floats nearest = nearest_integer(x * splat(LOG2_E));
  const Floats r = multiply_add(nearest, splat(-LN_2_LOW), multiply_add(nearest, splat(-LN_2_HIGH), x));
  Floats p = splat(1.0f / 5040);
  p = multiply_add(p, r, splat(1.0f / 720));
  p = multiply_add(p, r, splat(1.0f / 120));
  p = multiply_add(p, r, splat(1.0f / 24));
  p = multiply_add(p, r, splat(1.0f / 6));
  p = multiply_add(p, r, splat(0.5f));
  p = multiply_add(p, r, splat(1.0f));
  p = multiply_add(p, r, splat(1.0f));
  return times_power_of_2(p, nearest);
}

// Loads 16 logits, or the last `count` of a row with zeros after them.
inline Floats load_some_logits(const float* from, int64_t count) {
  if (count >= LANES) return load(from);
  float values[LANES] = {};
  for (int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
}
inline Floats load_some_logits(const uint16_t* from, int64_t count) {
  return from_bfloat16(load_halves(first_lanes(count), from));
}

// A row of `size` logits, float32 or bfloat16 (as uint16_t).
template <typename Logit>
class LogSoftmaxRow {
 public:
  LogSoftmaxRow(const Logit* logits, int64_t size)
      : logits_(logits), size_(size), maxima_((size + CHUNK - 1) / CHUNK * LANES) {
    const Floats lowest = splat(LOWEST), absent = splat(-INFINITY);
    Floats highest = absent, not_finite = zeros();
    for (int64_t chunk = 0; chunk * CHUNK < size; ++chunk) {
      Floats maxima = absent;
      for (int64_t first = chunk * CHUNK; first < std::min((chunk + 1) * CHUNK, size); first += LANES) {
        const Floats all = load_some_logits(logits + first, size - first);
        const Floats values = size - first >= LANES ? all : where(first_lanes(size - first), all, absent);
        maxima = maximum(values, maxima);  // a NaN leaves them as they are
        not_finite = multiply_add(maximum(lowest, values), zeros(), not_finite);
      }
      store(maxima_.data() + chunk * LANES, maxima);
      highest = maximum(maxima, highest);
    }
    best_ = max_of_lanes(highest);
    valid_ = sum_of_lanes(not_finite) == 0.0f && best_ != -INFINITY;
  }

  // The largest logit; -inf if there is none.
  float best() const { return best_; }

  // Returns the sum of 2^40 e^(logit - best), each rounded to an integer. Returns 0 if no sum exists: if a logit is NaN
  // or infinity, or if all are -inf.
  int64_t total() const {
    if (!valid_) return 0;
    int64_t total = 0;
    for (int64_t first = 0; first < size_; first += SUMMED) total += total_of(first, std::min(first + SUMMED, size_));
    return total;
  }

  // Writes the `count` largest logits and their places, the largest first, and of equal ones the first. `count` is at
  // most the number of logits. A NaN counts as -inf.
  void largest(int64_t count, float* values, int64_t* places) const {
    if (count == 0) return;
    const float bound = lower_bound(count);
    std::vector<Found> found;
    for (int64_t group = 0; group < static_cast<int64_t>(maxima_.size()); ++group) {
      if (maxima_[group] < bound) continue;
      const int64_t chunk = group / LANES;
      for (int64_t place = chunk * CHUNK + group % LANES; place < std::min((chunk + 1) * CHUNK, size_);
           place += LANES) {
        const float value = to_float(logits_[place]);
        const Found each{value == value ? value : -INFINITY, place};
        if (each.value >= bound) found.push_back(each);
      }
    }
    std::partial_sort(found.begin(), found.begin() + count, found.end());
    for (int64_t i = 0; i < count; ++i) {
      values[i] = found[i].value;
      places[i] = found[i].place;
    }
  }

 private:
  // A chunk has as many groups as a vector has lanes: a group is one lane of all vectors of the chunk.
  static constexpr int64_t CHUNK = 64 * LANES;
  static constexpr int64_t SUMMED = 1024 * LANES;   // logits whose sums in 32 bits cannot overflow
  static constexpr float LOWEST_EXPONENT = -40.0f;  // 2^40 e^x is 0 long before
  static constexpr float HALF_SCALE = 0x1p20f;

  struct Found {
    float value;
    int64_t place;

    bool operator<(const Found& other) const {
      return value != other.value ? value > other.value : place < other.place;
    }
  };

  // At least `count` logits reach this bound: as many groups have such a maximum.
  float lower_bound(int64_t count) const {
    if (count > static_cast<int64_t>(maxima_.size())) return -INFINITY;
    std::vector<float> sorted(maxima_);
    std::nth_element(sorted.begin(), sorted.begin() + count - 1, sorted.end(), std::greater<>());
    return sorted[count - 1];
  }

  // Returns the sum over the logits from `first` up to `last`. An integer has up to 41 bits, and a lane only 32. Each
  // integer is therefore summed in two parts: the nearest multiple of 2^20, and the rest.
  int64_t total_of(int64_t first, int64_t last) const {
    const Floats best = splat(best_), scale = splat(HALF_SCALE), lowest = splat(LOWEST_EXPONENT);
    Words upper = splat_word(0), lower = splat_word(0);
    for (; first < last; first += LANES) {
      const Floats exponents = maximum(load_some_logits(logits_ + first, size_ - first) - best, lowest);
      Floats scaled = accurate_exp_of_negative(exponents) * scale;
      if (size_ - first < LANES) scaled = where(first_lanes(size_ - first), scaled, zeros());
      const Floats whole = nearest_integer(scaled);
      upper = add(upper, nearest_words(whole));
      lower = add(lower, nearest_words((scaled - whole) * scale));
    }
    int32_t uppers[LANES], lowers[LANES];
    store_words(uppers, upper);
    store_words(lowers, lower);
    int64_t total = 0;
    for (int64_t lane = 0; lane < LANES; ++lane) total += (static_cast<int64_t>(uppers[lane]) << 20) + lowers[lane];
    return total;
  }

  const Logit* logits_;
  const int64_t size_;
  std::vector<float> maxima_;  // one per group
  float best_;
  bool valid_;
};

}  // namespace qwen_batch
