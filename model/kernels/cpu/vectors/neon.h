// Vectors on ARM with dot products (vector.h): four registers each, one per quarter.
#pragma once

#include <arm_neon.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace qwen_batch {

struct Floats {
  float32x4_t q0, q1, q2, q3;
};
struct Words {
  int32x4_t q0, q1, q2, q3;
};
struct Halves {
  uint16x8_t q0, q1;
};

constexpr int SUM_VECTORS = 6;  // 24 of 32 registers

// Applies a function to each quarter of vectors.
template <typename Result, typename Function, typename... Vectors>
inline Result each(const Function& function, const Vectors&... v) {
  return {function(v.q0...), function(v.q1...), function(v.q2...), function(v.q3...)};
}

inline Floats operator+(Floats a, Floats b) {
  return each<Floats>([](float32x4_t x, float32x4_t y) { return x + y; }, a, b);
}
inline Floats operator-(Floats a, Floats b) {
  return each<Floats>([](float32x4_t x, float32x4_t y) { return x - y; }, a, b);
}
inline Floats operator*(Floats a, Floats b) {
  return each<Floats>([](float32x4_t x, float32x4_t y) { return x * y; }, a, b);
}
inline Floats operator/(Floats a, Floats b) {
  return each<Floats>([](float32x4_t x, float32x4_t y) { return x / y; }, a, b);
}

inline Floats splat(float value) {
  const float32x4_t quarter = vdupq_n_f32(value);
  return {quarter, quarter, quarter, quarter};
}
inline Floats zeros() { return splat(0.0f); }
inline Floats load(const float* from) {
  return {vld1q_f32(from), vld1q_f32(from + 4), vld1q_f32(from + 8), vld1q_f32(from + 12)};
}
inline void store(float* to, Floats values) {
  vst1q_f32(to, values.q0);
  vst1q_f32(to + 4, values.q1);
  vst1q_f32(to + 8, values.q2);
  vst1q_f32(to + 12, values.q3);
}

// Return a * b + c and a * b - c, rounded once.
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return each<Floats>([](auto x, auto y, auto z) { return vfmaq_f32(x, y, z); }, c, a, b);
}
inline Floats multiply_subtract(Floats a, Floats b, Floats c) {
  return multiply_add(a, b, each<Floats>([](auto x) { return vnegq_f32(x); }, c));
}

// Returns b where either is NaN.
inline Floats maximum(Floats a, Floats b) {
  return each<Floats>([](float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }, a, b);
}
inline Floats magnitude(Floats a) {
  return each<Floats>([](auto x) { return vabsq_f32(x); }, a);
}
inline Floats nearest_integer(Floats a) {
  return each<Floats>([](auto x) { return vrndnq_f32(x); }, a);
}

inline Words splat_word(int32_t value) {
  const int32x4_t quarter = vdupq_n_s32(value);
  return {quarter, quarter, quarter, quarter};
}
inline Words load_words(const void* from) {
  const auto* words = static_cast<const int32_t*>(from);
  return {vld1q_s32(words), vld1q_s32(words + 4), vld1q_s32(words + 8), vld1q_s32(words + 12)};
}
inline void store_words(void* to, Words words) {
  auto* at = static_cast<int32_t*>(to);
  vst1q_s32(at, words.q0);
  vst1q_s32(at + 4, words.q1);
  vst1q_s32(at + 8, words.q2);
  vst1q_s32(at + 12, words.q3);
}
inline Words words_of(Floats a) {
  return each<Words>([](float32x4_t x) { return vreinterpretq_s32_f32(x); }, a);
}
inline Floats floats_of(Words a) {
  return each<Floats>([](int32x4_t x) { return vreinterpretq_f32_s32(x); }, a);
}

// Returns a * 2^exponent, for whole exponents that are at most 0. Results below 2^-126 become zero.
inline Floats times_power_of_2(Floats a, Floats exponent) {
  const auto power = [](float32x4_t of) {
    const int32x4_t bounded = vcvtq_s32_f32(vmaxq_f32(of, vdupq_n_f32(-127.0f)));
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(bounded, vdupq_n_s32(127)), 23));
  };
  return a * each<Floats>(power, exponent);
}

// `where`: a in the lanes of the mask, b in the others. `where_negative`: a in the lanes where `x` is below zero.
inline Floats where(Mask mask, Floats a, Floats b) {
  const auto selected = [](int bits, float32x4_t x, float32x4_t y) {
    const uint32x4_t lanes = {1, 2, 4, 8};
    return vbslq_f32(vtstq_u32(vdupq_n_u32(static_cast<uint32_t>(bits)), lanes), x, y);
  };
  return {selected(mask, a.q0, b.q0), selected(mask >> 4, a.q1, b.q1), selected(mask >> 8, a.q2, b.q2),
          selected(mask >> 12, a.q3, b.q3)};
}
inline Floats where_negative(Floats x, Floats a, Floats b) {
  const auto selected = [](float32x4_t sign, float32x4_t y, float32x4_t z) {
    return vbslq_f32(vcltzq_f32(sign), y, z);
  };
  return each<Floats>(selected, x, a, b);
}

inline float sum_of_lanes(Floats a) { return vaddvq_f32(vaddq_f32(vaddq_f32(a.q0, a.q2), vaddq_f32(a.q1, a.q3))); }
inline float max_of_lanes(Floats a) {
  return vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a.q0, a.q1), vmaxnmq_f32(a.q2, a.q3)));
}
inline float max_of_lanes(Mask mask, Floats a) { return max_of_lanes(where(mask, a, splat(-INFINITY))); }

// Whole numbers in float32.
inline Floats to_floats(Words a) {
  return each<Floats>([](int32x4_t x) { return vcvtq_f32_s32(x); }, a);
}

// Integers, and 16 integers of 8 bits as integers.
inline Words add(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return vaddq_s32(x, y); }, a, b);
}
inline int32_t sum_of_lanes(Words a) { return vaddvq_s32(vaddq_s32(vaddq_s32(a.q0, a.q1), vaddq_s32(a.q2, a.q3))); }
inline Words nearest_words(Floats a) {
  return each<Words>([](auto x) { return vcvtnq_s32_f32(x); }, a);
}
inline Words load_narrow(const int8_t* from) {
  const int8x16_t bytes = vld1q_s8(from);
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
  return {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
}
inline void store_narrow(int8_t* to, Words a) {
  const int16x8_t low = vmovn_high_s32(vmovn_s32(a.q0), a.q1), high = vmovn_high_s32(vmovn_s32(a.q2), a.q3);
  vst1q_s8(to, vmovn_high_s16(vmovn_s16(low), high));
}

// The values of bfloat16 pairs in float32.
inline Floats odd_values(Words pairs) {
  return floats_of(each<Words>([](int32x4_t x) { return vandq_s32(x, vdupq_n_s32(-0x10000)); }, pairs));
}
inline Floats even_values(Words pairs) {
  return floats_of(each<Words>([](int32x4_t x) { return vshlq_n_s32(x, 16); }, pairs));
}

inline Halves load_halves(const uint16_t* from) { return {vld1q_u16(from), vld1q_u16(from + 8)}; }
inline void store_halves(uint16_t* to, Halves values) {
  vst1q_u16(to, values.q0);
  vst1q_u16(to + 8, values.q1);
}

inline Floats from_bfloat16(Halves values) {
  const auto widened = [](uint16x4_t half) { return vreinterpretq_f32_u32(vshll_n_u16(half, 16)); };
  return {widened(vget_low_u16(values.q0)), widened(vget_high_u16(values.q0)), widened(vget_low_u16(values.q1)),
          widened(vget_high_u16(values.q1))};
}

// Rounds to nearest even. A NaN stays a NaN: its quiet bit is set, because without it the cut of the lower bits could
// leave an infinity.
inline Halves to_bfloat16(Floats values) {
  const auto rounded = [](float32x4_t of) {
    const uint32x4_t bits = vreinterpretq_u32_f32(of), last = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t sum = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), last);
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(of, of), sum, quiet), 16);
  };
  return {vcombine_u16(rounded(values.q0), rounded(values.q1)), vcombine_u16(rounded(values.q2), rounded(values.q3))};
}

// Interleave pairs of 32 bits, of 64 bits and of 16 bits of each quarter: of its lower or of its upper half.
inline int32x4_t zip_low_64(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t zip_high_64(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t zip_low_16(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s16(vzip1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)));
}
inline int32x4_t zip_high_16(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s16(vzip2q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)));
}
inline Floats unpack_low(Floats a, Floats b) {
  return each<Floats>([](auto x, auto y) { return vzip1q_f32(x, y); }, a, b);
}
inline Floats unpack_high(Floats a, Floats b) {
  return each<Floats>([](auto x, auto y) { return vzip2q_f32(x, y); }, a, b);
}
inline Words unpack_low(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return vzip1q_s32(x, y); }, a, b);
}
inline Words unpack_high(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return vzip2q_s32(x, y); }, a, b);
}
inline Words unpack_low_pairs(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return zip_low_64(x, y); }, a, b);
}
inline Words unpack_high_pairs(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return zip_high_64(x, y); }, a, b);
}
inline Floats unpack_low_pairs(Floats a, Floats b) { return floats_of(unpack_low_pairs(words_of(a), words_of(b))); }
inline Floats unpack_high_pairs(Floats a, Floats b) { return floats_of(unpack_high_pairs(words_of(a), words_of(b))); }
inline Words unpack_low_halves(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return zip_low_16(x, y); }, a, b);
}
inline Words unpack_high_halves(Words a, Words b) {
  return each<Words>([](auto x, auto y) { return zip_high_16(x, y); }, a, b);
}
inline Halves unpack_low_quads(Halves a, Halves b) {
  const auto zipped = [](uint16x8_t x, uint16x8_t y) {
    return vreinterpretq_u16_u64(vzip1q_u64(vreinterpretq_u64_u16(x), vreinterpretq_u64_u16(y)));
  };
  return {zipped(a.q0, b.q0), zipped(a.q1, b.q1)};
}
inline Halves unpack_high_quads(Halves a, Halves b) {
  const auto zipped = [](uint16x8_t x, uint16x8_t y) {
    return vreinterpretq_u16_u64(vzip2q_u64(vreinterpretq_u64_u16(x), vreinterpretq_u64_u16(y)));
  };
  return {zipped(a.q0, b.q0), zipped(a.q1, b.q1)};
}

// Writes the 32 values of two vectors, half by half: the first half of a, the first half of b, the second half of a, …
inline void store_quarters(uint16_t* to, Halves a, Halves b) {
  store_halves(to, {a.q0, b.q0});
  store_halves(to + LANES, {a.q1, b.q1});
}

// Quarters 0 and 2 of a, then of b; and 1 and 3.
inline Words even_quarters(Words a, Words b) { return {a.q0, a.q2, b.q0, b.q2}; }
inline Words odd_quarters(Words a, Words b) { return {a.q1, a.q3, b.q1, b.q3}; }
inline Floats even_quarters(Floats a, Floats b) { return {a.q0, a.q2, b.q0, b.q2}; }
inline Floats odd_quarters(Floats a, Floats b) { return {a.q1, a.q3, b.q1, b.q3}; }

// Quarters 0 and 1 of a, then of b; and 2 and 3.
inline Words first_quarters(Words a, Words b) { return {a.q0, a.q1, b.q0, b.q1}; }
inline Words last_quarters(Words a, Words b) { return {a.q2, a.q3, b.q2, b.q3}; }

// Interleave two vectors of 32 values of 16 bits (a0 b0 a1 b1 …): the lower 16 values of each, or the upper 16.
inline Words interleave_low(Words a, Words b) {
  return {zip_low_16(a.q0, b.q0), zip_high_16(a.q0, b.q0), zip_low_16(a.q1, b.q1), zip_high_16(a.q1, b.q1)};
}
inline Words interleave_high(Words a, Words b) {
  return {zip_low_16(a.q2, b.q2), zip_high_16(a.q2, b.q2), zip_low_16(a.q3, b.q3), zip_high_16(a.q3, b.q3)};
}

}  // namespace qwen_batch
