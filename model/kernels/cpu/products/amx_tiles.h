// Leave to use the AMX tile registers, and their configuration in a thread.
#pragma once

#include <cstdint>

namespace qwen_batch {
constexpr int64_t TILE_ROWS = 16;  // of a whole tile; weights for 8-bit products are packed so for every processor
}  // namespace qwen_batch

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define QWEN_BATCH_HAS_AMX 1

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace qwen_batch {

// The kernel grants a process the tile registers on request (XFEATURE_XTILEDATA is 18). Asked once.
inline bool amx_granted() {
  constexpr int ARCH_REQ_XCOMP_PERM = 0x1023;
  static const bool granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18) == 0;
  return granted;
}

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_per_row[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0 to 3 are for sums, 4 and 5 for the first operand, 6 and 7 for the second. With few rows the first six are
// shorter, and so quicker. oneDNN, in the same process, keeps a configuration of its own: it is put back at the end.
class TileScope {
 public:
  explicit TileScope(int64_t rows) {
    _tile_storeconfig(&saved_);
    TileConfig config;
    for (int tile = 0; tile < 8; ++tile) {
      config.bytes_per_row[tile] = 64;
      config.rows[tile] = tile < 6 ? static_cast<uint8_t>(rows) : 16;
    }
    _tile_loadconfig(&config);
  }
  ~TileScope() {
    if (saved_.palette == 0) {
      _tile_release();
    } else {
      _tile_loadconfig(&saved_);
    }
  }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  TileConfig saved_;
};

}  // namespace qwen_batch

#else
#define QWEN_BATCH_HAS_AMX 0

namespace qwen_batch {
inline bool amx_granted() { return false; }
}  // namespace qwen_batch

#endif
