// Upper bounds for logits, from a product with 8-bit weights.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "int8_rows.h"
#include "product.h"
#include "screen_errors.h"

namespace qwen_batch {

// The tokens that each row may choose, one bit per token: a strip's tokens are 16 bits.
struct RowMasks {
  const uint16_t* bits;  // [rows, strips_per_row]; null if all tokens are allowed
  int64_t strips_per_row;
  int64_t n;  // number of tokens

  // Returns a mask of the strip's tokens that exist and that the row may choose.
  Mask allowed(int64_t row, int64_t strip) const {
    const Mask present = first_lanes(n - strip * STRIP);
    return bits == nullptr ? present : present & bits[row * strips_per_row + strip];
  }
};

// Rows of hidden states that are looked at together.
struct SomeRows {
  const uint16_t* x;                    // [numbers.size(), k]
  const std::vector<int64_t>& numbers;  // of these rows in the masks
};

class ScreenBounds {
 public:
  // weight: 8-bit weights [n, k]. errors [2, strips * STRIP]: the factors of `RowErrors` for the weight's rows. Logits
  // of tokens that `masks` does not allow are left out.
  ScreenBounds(const SomeRows& rows, const PackedWeight& weight, const float* errors, const RowMasks& masks)
      : x_(rows.x),
        numbers_(rows.numbers),
        rows_(static_cast<int64_t>(rows.numbers.size())),
        strips_(strips_of(weight.n)),
        weight_(weight),
        errors_(errors),
        masks_(masks),
        approximate_(torch::stable::empty({rows_, weight.n}, torch::headeronly::ScalarType::BFloat16)),
        upper_(torch::stable::empty({rows_, strips_}, torch::headeronly::ScalarType::Float)),
        scratch_(scratch_bytes(weight, rows_)),
        norms_(rows_) {}

  // Computes the member's share of the bounds, then waits for all members.
  void compute(const Member& member) {
    auto* approximate = static_cast<uint16_t*>(approximate_.mutable_data_ptr());
    multiply(member, {.x = x_, .weight = weight_, .out = approximate, .rows = rows_, .scratch = scratch_.data()},
             nullptr);
    for (int64_t row = member.begin(rows_); row < member.end(rows_); ++row) norms_[row] = norms_of(row);
    member.wait();
    const int64_t chunks = (strips_ + CHUNK - 1) / CHUNK;
    for (int64_t chunk = member.begin(chunks); chunk < member.end(chunks); ++chunk)
      for (int64_t row = 0; row < rows_; ++row)
        for (int64_t strip = chunk * CHUNK; strip < std::min((chunk + 1) * CHUNK, strips_); ++strip)
          bound_strip(approximate, row, strip);
    member.wait();
  }

  // Returns the bounds of a row, one per strip: no allowed logit of the strip is greater. -inf if none is allowed.
  const float* of_row(int64_t row) const { return static_cast<const float*>(upper_.const_data_ptr()) + row * strips_; }

  // Returns whether a row's bounds are valid, that is, whether no product can overflow.
  bool valid(int64_t row) const { return norms_[row].hidden < MAX_NORM; }

 private:
  static constexpr int64_t CHUNK = 256;  // number of strips whose errors stay in the first-level cache for all rows

  struct Norms {
    float hidden, rounding_error;  // |h|, |h - h'|
  };

  Norms norms_of(int64_t row) const {
    const int8::QuantisedRows quantised(scratch_.data(), rows_, weight_.k);
    Floats hidden = zeros(), rounding_error = zeros();
    for (int64_t first = 0; first < weight_.k; first += LANES) {
      const Floats values = load_some(x_ + row * weight_.k + first, weight_.k - first);
      const Floats difference = values - quantised.restored(row, first / int8::GROUP, first % int8::GROUP / LANES);
      hidden = multiply_add(values, values, hidden);
      rounding_error = multiply_add(difference, difference, rounding_error);
    }
    return {
        .hidden = SLACK * std::sqrt(sum_of_lanes(hidden)),
        .rounding_error = SLACK * std::sqrt(sum_of_lanes(rounding_error)),
    };
  }

  void bound_strip(const uint16_t* approximate, int64_t row, int64_t strip) {
    const Floats value = load_some(approximate + row * weight_.n + strip * STRIP, weight_.n - strip * STRIP);
    Floats bound = multiply_add(magnitude(value), splat(BFLOAT16_ROUNDING), value + splat(TINY));
    bound = multiply_add(load(errors_ + strip * STRIP), splat(norms_[row].hidden), bound);
    bound = multiply_add(load(errors_ + (strips_ + strip) * STRIP), splat(norms_[row].rounding_error), bound);
    static_cast<float*>(upper_.mutable_data_ptr())[row * strips_ + strip] =
        max_of_lanes(masks_.allowed(numbers_[row], strip), bound);
  }

  const uint16_t* x_;
  const std::vector<int64_t>& numbers_;
  const int64_t rows_, strips_;
  const PackedWeight weight_;
  const float* errors_;
  const RowMasks masks_;
  const torch::stable::Tensor approximate_, upper_;
  const Scratch scratch_;
  std::vector<Norms> norms_;
};

}  // namespace qwen_batch
