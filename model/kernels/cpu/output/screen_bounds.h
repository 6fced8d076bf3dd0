// What the logits of some rows are at most, from a product with 8-bit weights.
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

#if QWEN_BATCH_HAS_VNNI

namespace qwen_batch {

class ScreenBounds {
 public:
  // Hidden states x [rows, k] and a weight of 8 bits [n, k]; `errors` [2, strips * STRIP] are its rows'.
  ScreenBounds(const uint16_t* x, int64_t rows, const PackedWeight& weight, const float* errors)
      : x_(x),
        rows_(rows),
        strips_(strips_of(weight.n)),
        weight_(weight),
        errors_(errors),
        rough_(torch::stable::empty({rows, weight.n}, torch::headeronly::ScalarType::BFloat16)),
        upper_(torch::stable::empty({rows, strips_}, torch::headeronly::ScalarType::Float)),
        scratch_(scratch_bytes(weight, rows)),
        norms_(rows) {}

  // The member's share; then all wait.
  void find(const Member& member) {
    auto* rough = static_cast<uint16_t*>(rough_.mutable_data_ptr());
    multiply(member, {x_, weight_, rough, rows_, scratch_.data()}, nullptr);
    for (int64_t row = member.begin(rows_); row < member.end(rows_); ++row) norms_[row] = norms_of(row);
    member.wait();
    const int64_t chunks = (strips_ + CHUNK - 1) / CHUNK;
    for (int64_t chunk = member.begin(chunks); chunk < member.end(chunks); ++chunk)
      for (int64_t row = 0; row < rows_; ++row)
        for (int64_t strip = chunk * CHUNK; strip < std::min((chunk + 1) * CHUNK, strips_); ++strip) bound_strip(rough, row, strip);
    member.wait();
  }

  // What none of a strip's logits lies above.
  const float* of_row(int64_t row) const { return static_cast<const float*>(upper_.const_data_ptr()) + row * strips_; }

  int64_t strips() const { return strips_; }

  // Whether a row's bounds say anything.
  bool known(int64_t row) const { return norms_[row].hidden < LARGEST_NORM; }

  // The logits of a strip that exist.
  __mmask16 present(int64_t strip) const { return first_lanes(weight_.n - strip * STRIP); }

 private:
  static constexpr int64_t CHUNK = 256;  // strips whose errors stay in the first-level cache for all rows

  struct Norms {
    float hidden, lost;  // |h|, |h - h'|
  };

  Norms norms_of(int64_t row) const {
    const int8::QuantisedRows quantised(scratch_.data(), rows_, weight_.k);
    __m512 all = _mm512_setzero_ps(), lost = _mm512_setzero_ps();
    for (int64_t first = 0; first < weight_.k; first += LANES) {
      const __m512 values = load_some(x_ + row * weight_.k + first, weight_.k - first);
      const __m512 difference = _mm512_sub_ps(values, quantised.restored(row, first / int8::GROUP, first % int8::GROUP / LANES));
      all = _mm512_fmadd_ps(values, values, all);
      lost = _mm512_fmadd_ps(difference, difference, lost);
    }
    return {SLACK * std::sqrt(_mm512_reduce_add_ps(all)), SLACK * std::sqrt(_mm512_reduce_add_ps(lost))};
  }

  void bound_strip(const uint16_t* rough, int64_t row, int64_t strip) {
    const __m512 value = load_some(rough + row * weight_.n + strip * STRIP, weight_.n - strip * STRIP);
    __m512 bound = _mm512_fmadd_ps(_mm512_abs_ps(value), _mm512_set1_ps(BFLOAT16_ROUNDING), _mm512_add_ps(value, _mm512_set1_ps(TINY)));
    bound = _mm512_fmadd_ps(_mm512_loadu_ps(errors_ + strip * STRIP), _mm512_set1_ps(norms_[row].hidden), bound);
    bound = _mm512_fmadd_ps(_mm512_loadu_ps(errors_ + (strips_ + strip) * STRIP), _mm512_set1_ps(norms_[row].lost), bound);
    static_cast<float*>(upper_.mutable_data_ptr())[row * strips_ + strip] = _mm512_mask_reduce_max_ps(present(strip), bound);
  }

  const uint16_t* x_;
  const int64_t rows_, strips_;
  const PackedWeight weight_;
  const float* errors_;
  const torch::stable::Tensor rough_, upper_;
  const Scratch scratch_;
  std::vector<Norms> norms_;
};

}  // namespace qwen_batch

#endif
