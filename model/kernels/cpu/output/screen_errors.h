// How far a logit can be from its approximation with 8-bit weights.
//
// Let w be a row of the weight and h a hidden state; w' and h' are their 8-bit approximations. Their
// dot products, w h and w' h', differ by at most |w - w'| |h| + |w'| |h - h'| (Cauchy and Schwarz).
//
// The roundings of float32 sums come on top, once for the bfloat16 product and once for the 8-bit product. Each is at
// most k 2^-23 |w| |h| for k products; the bound has a margin of two. The 8-bit product is stored as bfloat16, which
// adds 2^-8 of its value. SLACK enlarges all norms by more than their own roundings.
#pragma once

#include <cstdint>

namespace qwen_batch {

constexpr int64_t STRIP = 16;  // logits that are bounded, and computed, together: a register of sums
constexpr float SLACK = 1.0f + 0x1p-10f;
constexpr float BFLOAT16_ROUNDING = SLACK * 0x1p-8f;
constexpr float TINY = 1e-30f;  // what sums may lose where floats are denormal
// No product of two norms below it overflows. model/sampling/output_screen.py keeps weights below it.
constexpr float MAX_NORM = 1e18f;

inline int64_t strips_of(int64_t n) { return (n + STRIP - 1) / STRIP; }

// Errors of one row of the weight.
struct RowErrors {
  float error, approximate;  // |w - w'|, |w'|

  // The factors for |h| and for |h - h'|.
  float hidden_factor(int64_t k) const {
    return SLACK * (error + static_cast<float>(k) * 0x1p-21f * (approximate + error));
  }
  float rounding_factor() const { return SLACK * approximate; }
};

}  // namespace qwen_batch
