// The tiles of AMX as a program computes them: registers of 16 rows of 64 bytes, their configuration, and their
// products. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace tile_unit {

constexpr int TILES = 8, MAX_ROWS = 16, ROW_BYTES = 64;

struct Config {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(Config) == 64);

struct Tile {
  int rows = 0, row_bytes = 0;
  alignas(64) uint8_t data[MAX_ROWS][ROW_BYTES] = {};

  int columns() const { return row_bytes / 4; }

  template <typename T>
  const T* row(int number) const {
    return reinterpret_cast<const T*>(data[number]);
  }
};

// Violates what the manual demands. A processor would raise an exception.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The tiles of one thread.
class TileUnit {
 public:
  void load_config(const Config& config) {
    if (config.palette == 0) return release();
    if (config.palette != 1) throw Fault("ldtilecfg: the palette is not 1");
    for (int number = 0; number < TILES; ++number) {
      const int rows = config.rows[number], row_bytes = config.row_bytes[number];
      if (rows > MAX_ROWS || row_bytes > ROW_BYTES) throw Fault("ldtilecfg: a tile is too large");
      if ((rows == 0) != (row_bytes == 0)) throw Fault("ldtilecfg: a tile has rows or columns alone");
      tiles_[number] = Tile{.rows = rows, .row_bytes = row_bytes};
    }
    config_ = config;
  }

  void store_config(void* out) const { std::memcpy(out, &config_, sizeof config_); }

  void release() { *this = TileUnit(); }

  void zero(int number) { std::memset(configured(number).data, 0, sizeof Tile::data); }

  void load(int number, const char* base, int64_t stride) {
    Tile& tile = configured(number);
    std::memset(tile.data, 0, sizeof tile.data);
    for (int r = 0; r < tile.rows; ++r) std::memcpy(tile.data[r], base + r * stride, tile.row_bytes);
  }

  void store(int number, char* base, int64_t stride) {
    const Tile& tile = configured(number);
    for (int r = 0; r < tile.rows; ++r) std::memcpy(base + r * stride, tile.data[r], tile.row_bytes);
  }

  // Adds products of pairs of bfloat16 numbers to float32 sums: even and odd products apart, and then both to the sum.
  // Numbers below the normal ones count as zero, whatever the thread has set.
  void multiply_bfloat16(int sums, int left, int right) {
    constexpr unsigned NEAREST_WITHOUT_SUBNORMALS = 0x9fc0;
    const unsigned kept = _mm_getcsr();
    _mm_setcsr(NEAREST_WITHOUT_SUBNORMALS);
    const Tile &a = configured(left), &b = configured(right);
    Tile& out = product_of(sums, a, b);
    for (int m = 0; m < out.rows; ++m) {
      float even[MAX_ROWS] = {}, odd[MAX_ROWS] = {};
      for (int k = 0; k < a.columns(); ++k) {
        const float first = float_of(a.row<uint16_t>(m)[2 * k]), second = float_of(a.row<uint16_t>(m)[2 * k + 1]);
        const uint16_t* pairs = b.row<uint16_t>(k);
        for (int n = 0; n < MAX_ROWS; ++n) {
          even[n] = std::fma(first, float_of(pairs[2 * n]), even[n]);
          odd[n] = std::fma(second, float_of(pairs[2 * n + 1]), odd[n]);
        }
      }
      auto* row = reinterpret_cast<float*>(out.data[m]);
      for (int n = 0; n < out.columns(); ++n) row[n] += even[n] + odd[n];
    }
    _mm_setcsr(kept);
  }

  // Adds products of four signed bytes with four unsigned ones to 32-bit sums.
  void multiply_bytes(int sums, int left, int right) {
    const Tile &a = configured(left), &b = configured(right);
    Tile& out = product_of(sums, a, b);
    for (int m = 0; m < out.rows; ++m) {
      auto* row = reinterpret_cast<uint32_t*>(out.data[m]);
      for (int k = 0; k < a.columns(); ++k) {
        const int8_t* four = a.row<int8_t>(m) + 4 * k;
        for (int n = 0; n < out.columns(); ++n)
          for (int i = 0; i < 4; ++i) row[n] += static_cast<uint32_t>(four[i] * b.row<uint8_t>(k)[4 * n + i]);
      }
    }
  }

 private:
  static float float_of(uint16_t bfloat16) {
    const uint32_t bits = uint32_t{bfloat16} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  Tile& configured(int number) {
    if (config_.palette == 0) throw Fault("no tile is configured");
    if (number >= TILES || tiles_[number].rows == 0) throw Fault("this tile is not configured");
    return tiles_[number];
  }

  Tile& product_of(int sums, const Tile& a, const Tile& b) {
    Tile& out = configured(sums);
    if (out.rows != a.rows || out.row_bytes != b.row_bytes || a.columns() != b.rows)
      throw Fault("a product's tiles do not fit together");
    return out;
  }

  Config config_{};
  Tile tiles_[TILES];
};

}  // namespace tile_unit
