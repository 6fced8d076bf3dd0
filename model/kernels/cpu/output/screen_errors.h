// How far a logit can be from what 8-bit weights make of it.
//
// The product of a row w of the weight and a hidden state h lies within |w - w'| |h| + |w'| |h - h'| of that of w' and h', which are
// what 8 bits keep of them (Cauchy and Schwarz). Beside that stand the roundings of float32 sums, of the product in bfloat16 and of that
// in 8 bits: each at most k 2^-23 |w| |h| for k products, with a margin of two. And the 8-bit product is known as a bfloat16,
// to 2^-8 of itself. All norms are made larger by SLACK, more than their own roundings.
#pragma once

#include <cstdint>

namespace qwen_batch {

constexpr int64_t STRIP = 16;  // logits bounded, and computed, together: a register of sums
constexpr float SLACK = 1.0f + 0x1p-10f;
constexpr float BFLOAT16_ROUNDING = SLACK * 0x1p-8f;
constexpr float TINY = 1e-30f;  // what sums may lose where floats are denormal
constexpr float LARGEST_NORM = 1e18f;  // no product of two overflows; a screen has no larger ones (model/sampling/output_screen.py)

inline int64_t strips_of(int64_t n) { return (n + STRIP - 1) / STRIP; }

// Of a row of the weight.
struct RowErrors {
  float off, kept;  // |w - w'|, |w'|

  // What |h| is multiplied with, and what |h - h'| is.
  float of_hidden(int64_t k) const { return SLACK * (off + static_cast<float>(k) * 0x1p-21f * (kept + off)); }
  float of_rounding() const { return SLACK * kept; }
};

}  // namespace qwen_batch
