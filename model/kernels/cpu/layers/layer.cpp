// The two parts of a decoder layer: matrix products, and the operations between them, which work row by row.

#include "layer.h"

#include <cstring>

#include "rows.h"

namespace qwen_batch {
namespace layer_detail {
namespace {

// Calls `row(i)` for each of the member's rows.
template <typename Row>
void for_rows(const Member& member, int64_t rows, const Row& row) {
  for (int64_t i = member.begin(rows); i < member.end(rows); ++i) row(i);
}

// Multiplies and waits, so that the whole product is there for all members.
void multiply_and_wait(const Member& member, const LayerRows& rows, const uint16_t* x, const PackedWeight& weight,
                       uint16_t* out, Overlap* overlap) {
  multiply(member, {.x = x, .weight = weight, .out = out, .rows = rows.count, .scratch = rows.scratch}, overlap);
  member.wait();
}

// Normalises and rotates the query or key of a head in a row [(H + 2 KV) D]. The heads of queries come first. A key and
// its value go to their slot in the cache.
void rotate_and_store(const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows, int64_t i,
                      int64_t head, uint16_t* cache) {
  const int64_t dim = sizes.dim;
  const uint16_t* of_head = rows.wide + i * sizes.qkv() + head * dim;
  const float *c = rows.cos + i * dim / 2, *s = rows.sin + i * dim / 2;
  if (head < sizes.heads) {
    norm_and_rotate(of_head, weights.q_norm, c, s, rows.queries + (i * sizes.heads + head) * dim, dim, sizes.eps);
    return;
  }
  const CachePages pages = sizes.cache_pages();
  uint16_t* key = cache + pages.key_at(rows.slots[i], head - sizes.heads);
  norm_and_rotate(of_head, weights.k_norm, c, s, key, dim, sizes.eps);
  std::memcpy(key + pages.values(), of_head + sizes.kv_heads * dim, dim * sizeof(uint16_t));
}

}  // namespace
}  // namespace layer_detail

void project(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows,
             uint16_t* cache, Overlap* overlap) {
  using namespace layer_detail;
  const int64_t n = sizes.hidden;
  for_rows(member, rows.count, [&](int64_t i) {
    rms_norm_row(rows.hidden + i * n, weights.input_norm, rows.normed + i * n, n, sizes.eps);
  });
  member.wait();
  multiply_and_wait(member, rows, rows.normed, weights.qkv, rows.wide, overlap);
  const int64_t heads = sizes.heads + sizes.kv_heads;  // the heads of one row are shared between the members, too
  for (int64_t i = member.begin(rows.count * heads); i < member.end(rows.count * heads); ++i)
    rotate_and_store(weights, sizes, rows, i / heads, i % heads, cache);
  member.wait();
}

void finish(const Member& member, const LayerWeights& weights, const LayerSizes& sizes, const LayerRows& rows,
            Overlap* overlap) {
  using namespace layer_detail;
  const int64_t n = sizes.hidden;
  const auto add = [&](int64_t i) { add_row(rows.hidden + i * n, rows.projected + i * n, rows.hidden + i * n, n); };
  multiply_and_wait(member, rows, rows.narrow, weights.o, rows.projected, overlap);
  for_rows(member, rows.count, [&](int64_t i) {
    add(i);
    rms_norm_row(rows.hidden + i * n, weights.post_norm, rows.normed + i * n, n, sizes.eps);
  });
  member.wait();
  if (rows.experts != nullptr) {
    run_experts(member, {weights.router, weights.mlps}, *rows.experts, rows.normed, rows.projected, rows.count);
    for_rows(member, rows.count, add);
    return;
  }
  const MlpWeights& mlp = weights.mlps[0];
  const Product gated{
      .x = rows.normed,
      .weight = mlp.gate_up,
      .out = rows.wide,
      .rows = rows.count,
      .scratch = rows.scratch,
      .gated = rows.narrow,
  };
  multiply(member, gated, overlap);
  member.wait();
  multiply_and_wait(member, rows, rows.narrow, mlp.down, rows.projected, overlap);
  for_rows(member, rows.count, add);
}

}  // namespace qwen_batch
