// Checks the vectors, and the kernels' arithmetic, against plain loops. It needs no PyTorch, so that it can be compiled
// for any processor and run in an emulator. Prints each check that fails; the exit status is the number of them.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "block_products.h"
#include "int8_rows.h"
#include "log_softmax_row.h"
#include "nibbles.h"
#include "quads.h"
#include "rows.h"
#include "softmax_rows.h"
#include "vector_attention.h"

using namespace qwen_batch;

namespace {

int failures = 0;

// `tolerance`: relative to the larger of 1 and the expected magnitude.
void expect_near(const char* what, double found, double expected, double tolerance) {
  if (std::fabs(found - expected) <= tolerance * std::fmax(1.0, std::fabs(expected))) return;
  std::printf("%s: %g instead of %g\n", what, found, expected);
  ++failures;
}

void expect_equal(const char* what, int64_t found, int64_t expected) {
  if (found == expected) return;
  std::printf("%s: %lld instead of %lld\n", what, static_cast<long long>(found), static_cast<long long>(expected));
  ++failures;
}

constexpr double BFLOAT16 = 1.0 / 128;  // one rounding, and a rounding that fell to the other side
std::mt19937 generator(7);

std::vector<uint16_t> random_halves(size_t count) {
  std::normal_distribution<float> normal;
  std::vector<uint16_t> halves(count);
  for (uint16_t& half : halves) from_float(normal(generator), &half);
  return halves;
}

void check_rounding() {
  const float values[LANES] = {1.0f,    -1.0f,    1.00390625f, 1.01171875f, 1e-40f, 3.4e38f, INFINITY, -INFINITY,
                               0.3333f, -0.3333f, 65504.0f,    1.0039063f,  0.0f,   -0.0f,   2.5f,     -7.75f};
  uint16_t found[LANES], expected[LANES];
  store_halves(found, to_bfloat16(load(values)));
  for (int i = 0; i < LANES; ++i) from_float(values[i], expected + i);
  for (int i = 0; i < LANES; ++i) expect_equal("to_bfloat16", found[i], expected[i]);
  store_halves(found, to_bfloat16(splat(NAN)));
  expect_equal("to_bfloat16 of NaN", std::isnan(to_float(found[3])), true);
}

void check_masks() {
  for (int count = -1; count <= 17; ++count) {
    uint16_t from[LANES], to[LANES] = {};
    for (int i = 0; i < LANES; ++i) from[i] = static_cast<uint16_t>(100 + i);
    store_halves(first_lanes(count), to, load_halves(first_lanes(count), from));
    for (int i = 0; i < LANES; ++i) expect_equal("first lanes", to[i], i < count ? 100 + i : 0);
  }
  float chosen[LANES];
  store(chosen, where(0b1010'0000'0000'0101, splat(1.0f), splat(2.0f)));
  for (int i = 0; i < LANES; ++i) expect_near("where", chosen[i], 0b1010'0000'0000'0101 >> i & 1 ? 1 : 2, 0);
  expect_equal("max_of_lanes of no lane", max_of_lanes(Mask{0}, splat(1.0f)) == -INFINITY, true);
}

void check_exponentials() {
  for (float x : {0.0f, -0.4f, -1.5f, -10.3f, -80.0f, -126.5f, -1e30f}) {
    float powers[LANES];
    store(powers, exp2_of_negative(splat(x)));
    expect_near("exp2_of_negative", powers[5], std::exp2(static_cast<double>(x)), 1e-6);
  }
}

void check_shuffles() {
  Words rows[16];
  int32_t numbers[16][16], found[16][16];
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) numbers[i][j] = 16 * i + j;
  for (int i = 0; i < 16; ++i) rows[i] = load_words(numbers[i]);
  transpose_16(rows);
  for (int i = 0; i < 16; ++i) store_words(found[i], rows[i]);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) expect_equal("transpose_16", found[i][j], numbers[j][i]);
  uint16_t a[32], b[32], mixed[64];
  for (int i = 0; i < 32; ++i) a[i] = static_cast<uint16_t>(i), b[i] = static_cast<uint16_t>(100 + i);
  store_words(mixed, interleave_low(load_words(a), load_words(b)));
  store_words(mixed + 32, interleave_high(load_words(a), load_words(b)));
  for (int i = 0; i < 64; ++i) expect_equal("interleave", mixed[i], i % 2 == 0 ? a[i / 2] : b[i / 2]);
}

void check_products() {
  constexpr int ROWS = 7, PAIRS = 40, COLUMNS = 96;
  const std::vector<uint16_t> a = random_halves(ROWS * 2 * PAIRS), b = random_halves(2 * PAIRS * COLUMNS);
  std::vector<RowValue> rows(a.size());
  copy_row(rows.data(), a.data(), static_cast<int64_t>(a.size()));
  std::vector<float> out(ROWS * COLUMNS, 1.0f);
  multiply_vectors<true>(rows.data(), 2 * PAIRS, b.data(), COLUMNS, out.data(), ROWS, PAIRS);
  for (int r = 0; r < ROWS; ++r)
    for (int c = 0; c < COLUMNS; ++c) {
      double sum = 1.0;
      for (int i = 0; i < 2 * PAIRS; ++i)
        sum += static_cast<double>(to_float(a[r * 2 * PAIRS + i])) * to_float(b[(i / 2 * COLUMNS + c) * 2 + i % 2]);
      expect_near("a product in bfloat16", out[r * COLUMNS + c], sum, 1e-5);
    }
}

#if !QWEN_BATCH_HAS_BFLOAT16_DOTS
// Two rows and two vectors of columns: widened columns give the same bits as columns in bfloat16.
void check_widened_columns() {
  const std::vector<uint16_t> columns = random_halves(64);
  float widened[64], rows[4] = {0.3f, -1.7f, 2.5f, 0.1f};
  for (int c = 0; c < 2; ++c) {
    store(widened + c * LANES, odd_values(load_words(columns.data() + c * 32)));
    store(widened + (2 + c) * LANES, even_values(load_words(columns.data() + c * 32)));
  }
  Floats found[2][2] = {{zeros(), zeros()}, {zeros(), zeros()}},
         expected[2][2] = {{zeros(), zeros()}, {zeros(), zeros()}};
  add_outer(found, widened, [&](int r) { return rows + 2 * r; });
  add_outer(expected, columns.data(), [&](int r) { return rows + 2 * r; });
  for (int i = 0; i < 4; ++i) {
    float one[LANES], other[LANES];
    store(one, found[i / 2][i % 2]);
    store(other, expected[i / 2][i % 2]);
    for (int lane = 0; lane < LANES; ++lane) expect_near("widened columns", one[lane], other[lane], 0);
  }
}
#endif

void check_rows() {
  constexpr int N = 64;
  const std::vector<uint16_t> x = random_halves(N), weight = random_halves(N);
  std::vector<uint16_t> out(N);
  double squares = 0;
  for (uint16_t value : x) squares += std::pow(to_float(value), 2);
  rms_norm_row(x.data(), weight.data(), out.data(), N, 1e-6f);
  for (int i = 0; i < N; ++i)
    expect_near("rms_norm_row", to_float(out[i]), to_float(x[i]) / std::sqrt(squares / N) * to_float(weight[i]),
                2 * BFLOAT16);
  swiglu_row(x.data(), weight.data(), out.data(), N);
  for (int i = 0; i < N; ++i) {
    const double gate = to_float(x[i]);
    expect_near("swiglu_row", to_float(out[i]), gate / (1 + std::exp(-gate)) * to_float(weight[i]), 2 * BFLOAT16);
  }
}

// Attention of two heads to COUNT tokens in blocks of 64.
void check_attention() {
  constexpr int DIM = 64, GROUP = 2, COUNT = 101;
  const float scale = 0.125f;
  const std::vector<uint16_t> q = random_halves(GROUP * DIM), keys = random_halves(COUNT * DIM),
                              values = random_halves(COUNT * DIM);
  Attention<DIM, GROUP> attention(q.data());
  SoftmaxRows<16, BLOCK> softmax;
  alignas(64) float scores[16 * BLOCK];
  alignas(64) RowValue weights[16 * BLOCK];
  for (int64_t first = 0; first < COUNT; first += BLOCK) {
    const int64_t count = std::min<int64_t>(BLOCK, COUNT - first);
    attention.score({keys.data() + first * DIM, count}, {}, scores);
    softmax.online_softmax(scores, weights, GROUP, {.first_row = static_cast<int>(count), .more_per_row = 0},
                           scale * LOG2_E);
    attention.accumulate({values.data() + first * DIM, count}, {}, weights, softmax.rescale_factors());
  }
  uint16_t out[GROUP * DIM];
  attention.write(softmax.sums(), out);
  for (int g = 0; g < GROUP; ++g) {
    double sum = 0, expected[DIM] = {};
    for (int t = 0; t < COUNT; ++t) {
      double dot = 0;
      for (int d = 0; d < DIM; ++d) dot += static_cast<double>(to_float(q[g * DIM + d])) * to_float(keys[t * DIM + d]);
      sum += std::exp(dot * scale);
      for (int d = 0; d < DIM; ++d) expected[d] += std::exp(dot * scale) * to_float(values[t * DIM + d]);
    }
    for (int d = 0; d < DIM; ++d) expect_near("attention", to_float(out[g * DIM + d]), expected[d] / sum, 2 * BFLOAT16);
  }
}

// Two rows and two vectors of columns, with the largest products that there are.
void check_quads() {
  const int8_t extremes[4] = {127, -127, 1, -128};
  uint8_t weights[2][64], in_memory[2][64];
  for (int i = 0; i < 128; ++i) weights[i / 64][i % 64] = i < 8 ? 255 : static_cast<uint8_t>(37 * i);
  for (int i = 0; i < 128; ++i) in_memory[i / 64][i % 64] = weights[i / 64][i % 64 / 4 * 4 + QUAD_ORDER[i % 4]];
  for (int rotated = 0; rotated < 4; ++rotated) {
    RowInteger rows[2][4];
    for (int i = 0; i < 8; ++i) rows[i / 4][i % 4] = extremes[(i + i / 4 + rotated) % 4];
    Integers sums[2][2];
    for (int r = 0; r < 2; ++r)
      for (Integers& side : sums[r]) side = first_sums(128 * (rows[r][0] + rows[r][1] + rows[r][2] + rows[r][3]));
    add_quads(sums, in_memory[0], 64, [&](int r) { return rows[r]; });
    for (int r = 0; r < 2; ++r)
      for (int c = 0; c < 32; ++c) {
        float found[LANES];
        store(found, to_floats(sums[r][c / 16]));
        int32_t sum = 0;
        for (int i = 0; i < 4; ++i) sum += (weights[c / 16][c % 16 * 4 + i] - 128) * rows[r][i];
        expect_near("add_quads", found[c % 16], sum, 0);
      }
  }
}

void check_quantised_rows() {
  constexpr int64_t K = 300;
  const std::vector<uint16_t> x = random_halves(K);
  std::vector<uint8_t> memory(static_cast<size_t>(int8::QuantisedRows::bytes(1, K)) + 64);
  int8::QuantisedRows rows(memory.data(), 1, K);
  for (int64_t piece = 0; piece < rows.pieces(true); ++piece) rows.quantise(x.data(), piece);
  for (int64_t first = 0; first < K; first += LANES) {
    float restored[LANES];
    store(restored, rows.restored(0, first / int8::GROUP, first % int8::GROUP / LANES));
    for (int64_t i = 0; i < LANES; ++i)
      expect_near("a quantised row", restored[i], first + i < K ? to_float(x[first + i]) : 0.0f, 0.02);
  }
}

// A group of 16 columns: random codes, and the largest sums that there are.
void check_nibbles() {
  for (int largest : {0, 127, -127}) {
    uint8_t lines[4][64];
    int8_t row[32];
    for (int i = 0; i < 256; ++i) lines[i / 64][i % 64] = largest ? 255 : static_cast<uint8_t>(generator());
    for (int i = 0; i < 32; ++i) row[i] = static_cast<int8_t>(largest ? largest : 37 * i % 255 - 127);
    NibbleSums sums = no_nibble_sums();
    for (int quad = 0; quad < 8; ++quad) {
      const Words bytes = load_words(lines[quad / 2]);
      sums = add_nibbles(sums, quad % 2 ? upper_nibbles(bytes) : lower_nibbles(bytes), row + 4 * quad);
    }
    float found[LANES];
    store(found, to_floats(sums));
    for (int c = 0; c < LANES; ++c) {
      int32_t sum = 0;
      for (int i = 0; i < 32; ++i) sum += (lines[i / 8][c * 4 + i % 4] >> i % 8 / 4 * 4 & 15) * row[i];
      expect_near("add_nibbles", found[c], sum, 0);
    }
  }
}

void check_float16() {
  const uint16_t halves[LANES] = {0x0000, 0x8000, 0x3c00, 0xbc00, 0x0001, 0x8001, 0x03ff, 0x0400,
                                  0x7bff, 0xfbff, 0x3555, 0x2e66, 0xc940, 0x1234, 0x9abc, 0x5678};
  const double expected[LANES] = {0,     -0.0,   1,          -1,         0x1p-24, -0x1p-24,   0x3ffp-24,  0x1p-14,
                                  65504, -65504, 0x1.554p-2, 0x1.998p-4, -10.5,   0x1.8dp-11, -0x1.afp-9, 0x1.9ep+6};
  float found[LANES];
  store(found, from_float16(halves));
  for (int i = 0; i < LANES; ++i) expect_near("from_float16", found[i] * 0x1p24, expected[i] * 0x1p24, 0);
}

// A row whose last chunk and last vector are incomplete.
template <typename Logit>
void check_log_softmax() {
  constexpr int SIZE = 1900, COUNT = 5;
  const std::vector<uint16_t> halves = random_halves(SIZE);
  std::vector<Logit> logits(SIZE);
  for (int i = 0; i < SIZE; ++i) from_float(8 * to_float(halves[i]), &logits[i]);
  logits[3] = logits[1899] =
      *std::max_element(logits.begin(), logits.end(), [](Logit a, Logit b) { return to_float(a) < to_float(b); });
  const LogSoftmaxRow<Logit> row(logits.data(), SIZE);
  double sum = 0;
  for (Logit logit : logits) sum += std::exp(static_cast<double>(to_float(logit)) - row.best());
  expect_near("the sum of exponentials", static_cast<double>(row.total()) / 0x1p40, sum, 2e-7);
  float values[COUNT];
  int64_t places[COUNT];
  row.largest(COUNT, values, places);
  expect_equal("the place of the largest logit", places[0], 3);
  for (int i = 0; i < COUNT; ++i) {
    int before = 0;  // logits that rank before this one
    for (int place = 0; place < SIZE; ++place) {
      const float other = to_float(logits[place]);
      before += other > values[i] || (other == values[i] && place < places[i]);
    }
    expect_equal("the rank of a logit", before, i);
  }
  from_float(NAN, &logits[SIZE - 1]);
  expect_equal("the sum with a NaN", LogSoftmaxRow<Logit>(logits.data(), SIZE).total(), 0);
}

}  // namespace

int main() {
  check_rounding();
  check_masks();
  check_exponentials();
  check_shuffles();
  check_products();
#if !QWEN_BATCH_HAS_BFLOAT16_DOTS
  check_widened_columns();
#endif
  check_rows();
  check_attention();
  check_quads();
  check_nibbles(), check_float16(), check_quantised_rows();
  check_log_softmax<float>(), check_log_softmax<uint16_t>();
  return failures;
}
