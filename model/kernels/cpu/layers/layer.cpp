// The parts of a decoder layer: products with what lies between them, which is done row by row.

#include "layer.h"

#include <cstring>

#include "rows.h"

#if QWEN_BATCH_HAS_AVX512

namespace qwen_batch {
namespace {

// Calls `row(i)` for each of the member's rows.
template <typename Row>
void for_rows(const Member& member, int64_t rows, const Row& row) {
  for (int64_t i = member.begin(rows); i < member.end(rows); ++i) row(i);
}

// All of a product, for all members.
void multiply_and_wait(const Member& member, const LayerRows& rows, const uint16_t* x, const PackedWeight& weight, uint16_t* out, Beside* beside) {
  multiply(member, {x, weight, out, rows.count, rows.scratch}, beside);
  member.wait();
}

// Norms and rotates the queries and keys of a row [(H + 2 KV) D]; keys and values go to their slot.
void rotate_and_store(const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows, int64_t i, uint16_t* cache) {
  const CachePages pages = sizes.cache_pages();
  const int64_t dim = sizes.dim;
  const uint16_t* row = rows.wide + i * sizes.qkv();
  const float *c = rows.cos + i * dim / 2, *s = rows.sin + i * dim / 2;
  for (int64_t h = 0; h < sizes.heads; ++h, row += dim)
    norm_and_rotate(row, weights.q_norm, c, s, rows.queries + (i * sizes.heads + h) * dim, dim, sizes.eps);
  for (int64_t h = 0; h < sizes.kv_heads; ++h, row += dim) {
    uint16_t* key = cache + pages.key_at(rows.slots[i], h);
    norm_and_rotate(row, weights.k_norm, c, s, key, dim, sizes.eps);
    std::memcpy(key + pages.values(), row + sizes.kv_heads * dim, dim * sizeof(uint16_t));
  }
}

}  // namespace

void project(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows, uint16_t* cache, Beside* beside) {
  const int64_t n = sizes.hidden;
  for_rows(member, rows.count, [&](int64_t i) { rms_norm_row(rows.hidden + i * n, weights.input_norm, rows.normed + i * n, n, sizes.eps); });
  member.wait();
  multiply_and_wait(member, rows, rows.normed, weights.qkv, rows.wide, beside);
  for_rows(member, rows.count, [&](int64_t i) { rotate_and_store(weights, sizes, rows, i, cache); });
  member.wait();
}

void finish(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows, Beside* beside) {
  const int64_t n = sizes.hidden;
  const auto add = [&](int64_t i) { add_row(rows.hidden + i * n, rows.projected + i * n, rows.hidden + i * n, n); };
  multiply_and_wait(member, rows, rows.narrow, weights.o, rows.projected, beside);
  for_rows(member, rows.count, [&](int64_t i) {
    add(i);
    rms_norm_row(rows.hidden + i * n, weights.post_norm, rows.normed + i * n, n, sizes.eps);
  });
  member.wait();
  multiply(member, {rows.normed, weights.gate_up, rows.wide, rows.count, rows.scratch, rows.narrow}, beside);
  member.wait();
  multiply_and_wait(member, rows, rows.narrow, weights.down, rows.projected, beside);
  for_rows(member, rows.count, add);
}

}  // namespace qwen_batch

#endif
