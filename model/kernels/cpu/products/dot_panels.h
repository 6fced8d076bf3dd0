// Multiplies many rows with one block of a weight in bfloat16, where no instruction multiplies bfloat16.
//
// Each weight must be widened to float32. In registers, each pass of six rows would widen all weights again, which
// takes an Intel processor about a sixth of its time. Here, a panel of the block is widened once for all passes of a
// piece. The panel stays in the first-level cache, and nothing but multiply-adds is left to do. Between panels, the
// sums of the rows go through memory. They are the same chains of additions as in dot_block.h, so their bits are the
// same.
//
// On a Zen 3 panels only cost time (docs/lab/trials.md), so no AMD processor with AVX2 alone uses them.
#pragma once

#include <atomic>

#include "dot_block.h"

#if !QWEN_BATCH_HAS_BFLOAT16_DOTS

namespace qwen_batch::dot {

constexpr int64_t MIN_PANEL_ROWS = 32;  // with fewer rows, a panel takes longer to widen than it saves
constexpr int PANEL_STRIPS = strips_at_once(MAX_ROWS);
constexpr int64_t PANEL_COLUMNS = PANEL_STRIPS * LANES;
constexpr int64_t PANEL_DEPTH = 128;  // values along k

inline bool panels_are_faster() {
#if defined(__AVX2__) && !QWEN_BATCH_HAS_AVX512
  return !__builtin_cpu_is("amd");
#else
  return true;
#endif
}

inline std::atomic<bool> panels_enabled{panels_are_faster()};

// Widens PANEL_STRIPS strips of a block for `pairs` pairs of k. The panel is [pairs][2][PANEL_COLUMNS]: the odd values
// of a pair come first, as `add_outer` takes them.
inline void widen_panel(const uint16_t* weights, int64_t pairs, float* panel) {
  for (int64_t p = 0; p < pairs; ++p, weights += PAIR, panel += 2 * PANEL_COLUMNS)
    for (int64_t c = 0; c < PANEL_COLUMNS; c += LANES) {
      const Words both = load_words(weights + c * 2);
      store(panel + c, odd_values(both));
      store(panel + PANEL_COLUMNS + c, even_values(both));
    }
}

// Adds the products of ROWS rows and a panel to `sums` [ROWS][PANEL_COLUMNS].
template <int ROWS>
void add_panel(const RowValue* x, const float* panel, int64_t pairs, float* sums, Prefetcher& prefetcher) {
  // Unrolled loops, without which the compiler copies all sums once more.
  Floats so_far[ROWS][PANEL_STRIPS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < PANEL_STRIPS; ++v) so_far[r][v] = load(sums + r * PANEL_COLUMNS + v * LANES);
  add_products(so_far, x, LANES, panel, pairs, prefetcher);
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < PANEL_STRIPS; ++v) store(sums + r * PANEL_COLUMNS + v * LANES, so_far[r][v]);
}

using PanelKernel = void (*)(const RowValue*, const float*, int64_t, float*, Prefetcher&);
constexpr PanelKernel PANEL_KERNELS[MAX_ROWS] = {add_panel<1>, add_panel<2>, add_panel<3>,
                                                 add_panel<4>, add_panel<5>, add_panel<6>};

// Multiplies a piece of at most PIECE_ROWS rows with one block, panel by panel.
inline void multiply_panels(const ProductRows& rows, const Block& block, const Piece& piece, Prefetcher& prefetcher) {
  alignas(64) float panel[PANEL_DEPTH * PANEL_COLUMNS], sums[PIECE_ROWS * PANEL_COLUMNS];
  for (int64_t c = 0; c < DOT_COLUMNS && c < block.columns; c += PANEL_COLUMNS) {
    std::fill(sums, sums + (piece.end - piece.begin) * PANEL_COLUMNS, 0.0f);
    for (int64_t at = 0; at < block.k; at += PANEL_DEPTH) {
      const int64_t pairs = std::min(PANEL_DEPTH, block.k - at) / 2;
      widen_panel(block.weights + at * DOT_COLUMNS + c * 2, pairs, panel);
      for_each_pass(piece.begin, piece.end, [&](int64_t row, int64_t count) {
        float* of_pass = sums + (row - piece.begin) * PANEL_COLUMNS;
        PANEL_KERNELS[count - 1](rows.pass(row, count, at), panel, pairs, of_pass, prefetcher);
      });
    }
    for (int64_t row = piece.begin; row < piece.end; ++row)
      for (int64_t v = 0; v < PANEL_COLUMNS; v += LANES)
        store_halves(first_lanes(block.columns - c - v), piece.out_of(row) + c + v,
                     to_bfloat16(load(sums + (row - piece.begin) * PANEL_COLUMNS + v)));
  }
}

}  // namespace qwen_batch::dot

#endif
