// Decode attention by vectors, one tile at a time, for query heads that share a kv head.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "read_ahead.h"

namespace qwen_batch {

// Holds the state of one kv head. Scores and weights are [GROUP][BLOCK]; a softmax turns scores into weights.
template <int DIM, int GROUP>
class Attention {
 public:
  explicit Attention(const uint16_t* q) {
    for (int g = 0; g < GROUP; ++g) {
      for (int c = 0; c < CHUNKS; ++c) query_[g][c] = kept(load_words(q + g * DIM + c * 32));
      for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = zeros();
    }
  }

  // Multiplies the queries with `keys`. Meanwhile `next` is prefetched.
  void score(KvTile keys, KvTile next, float* scores) const {
    TilePrefetcher<DIM> fetch(keys, next, keys.count);
    for (int64_t t = 0; t < keys.count; t += 16) {
      Floats dots[GROUP];
      dots_of<16>(keys, t, fetch, dots);
      for (int g = 0; g < GROUP; ++g) store(scores + g * BLOCK + t, dots[g]);
    }
  }

  // Multiplies the sums so far by `rescale`, then adds the weighted values.
  void accumulate(KvTile values, KvTile next, const RowValue* weights, const float* rescale) {
    TilePrefetcher<DIM> fetch(values, next, (values.count + 1) / 2 * (CHUNKS / CHUNKS_AT_ONCE));
    for (int first = 0; first < CHUNKS; first += CHUNKS_AT_ONCE)
      accumulate_chunks(first, values, fetch, weights, rescale);
  }

  // Writes the result and undoes the interleaving: a quarter of `low` holds values 0 to 3 of eight, the same quarter of
  // `high` holds 4 to 7. `sums`: the sums of the weights.
  void write(const float* sums, uint16_t* out) const {
    for (int g = 0; g < GROUP; ++g) {
      const Floats inverse = splat(1.0f / sums[g]);
      for (int c = 0; c < CHUNKS; ++c) {
        const auto [first, second] = in_order(sum_v_[g][2 * c], sum_v_[g][2 * c + 1]);
        const Halves low = to_bfloat16(first * inverse), high = to_bfloat16(second * inverse);
        store_quarters(out + g * DIM + c * 32, unpack_low_quads(low, high), unpack_high_quads(low, high));
      }
    }
  }

 private:
  static constexpr int CHUNKS = DIM / 32;  // pieces of 32 bfloat16 values per row

  // Pieces whose sums stay in registers.
  static constexpr int CHUNKS_AT_ONCE = QWEN_BATCH_HAS_AVX512 ? CHUNKS : GROUP == 1 ? std::min(2, CHUNKS) : 1;

  // Does `accumulate` for CHUNKS_AT_ONCE pieces of each row. Each step takes two rows and a
  // pair of weights.
  [[gnu::always_inline]] void accumulate_chunks(int first, KvTile values, TilePrefetcher<DIM>& fetch,
                                                const RowValue* weights, const float* rescale) {
    const int count = static_cast<int>(values.count);
    // Local sums, which unrolled loops copy from and to the members. Without this the compiler writes the sums to
    // memory in every step, which takes longer than the step itself.
    Floats sums[GROUP][2 * CHUNKS_AT_ONCE];
#pragma GCC unroll 8
    for (int g = 0; g < GROUP; ++g)
#pragma GCC unroll 8
      for (int c = 0; c < 2 * CHUNKS_AT_ONCE; ++c) sums[g][c] = sum_v_[g][2 * first + c] * splat(rescale[g]);
    for (int t = 0; t < count; t += 2) {
      const uint16_t* even = values.rows + t * DIM + first * 32;
      const uint16_t* odd = t + 1 < count ? even + DIM : ZEROS;
      fetch.step();
      KeptPairs pairs[GROUP];
      for (int g = 0; g < GROUP; ++g) pairs[g] = kept_pair(weights + g * BLOCK + t);
      for (int c = 0; c < CHUNKS_AT_ONCE; ++c) {
        add_two_rows(sums, 2 * c, pairs, load_words(even + c * 32), load_words(odd + c * 32));
      }
    }
#pragma GCC unroll 8
    for (int g = 0; g < GROUP; ++g)
#pragma GCC unroll 8
      for (int c = 0; c < 2 * CHUNKS_AT_ONCE; ++c) sum_v_[g][2 * first + c] = sums[g][c];
  }

  // Multiplies with N keys, starting at the t-th. Two halves are combined as soon as both are done, so that they stay
  // in registers.
  template <int N>
  [[gnu::always_inline]] void dots_of(KvTile keys, int64_t t, TilePrefetcher<DIM>& fetch, Floats* dots) const {
    if constexpr (N == 1) {
      const uint16_t* key =
          keys.rows + std::min(t, keys.count - 1) * DIM;  // past the end: any valid row, the softmax ignores it
      for (int g = 0; g < GROUP; ++g) dots[g] = zeros();
      for (int c = 0; c < CHUNKS; ++c) {
        const Words part = load_words(key + c * 32);
        for (int g = 0; g < GROUP; ++g) dots[g] = add_dots(dots[g], query_[g][c], part);
      }
      fetch.step();
    } else {
      Floats first[GROUP], second[GROUP];
      dots_of<N / 2>(keys, t, fetch, first);
      dots_of<N / 2>(keys, t + N / 2, fetch, second);
      for (int g = 0; g < GROUP; ++g)
        dots[g] = combined<N>(first[g], second[g], [](Floats a, Floats b) { return a + b; });
    }
  }

  alignas(64) static constexpr uint16_t ZEROS[DIM] = {};

  KeptPairs query_[GROUP][CHUNKS];
  Floats sum_v_[GROUP][2 * CHUNKS];
};

}  // namespace qwen_batch
