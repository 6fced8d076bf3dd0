// Masked loads and stores of 16 values of 16 bits, for processors whose instructions have no masks (vector.h).
#pragma once

#include <cstdint>

namespace qwen_batch {

// Only the lanes of the mask touch memory. Other lanes are loaded as zero.
inline Halves load_halves(Mask mask, const uint16_t* from) {
  if (mask == 0xffff) return load_halves(from);
  uint16_t values[LANES] = {};
  for (int64_t i = 0; i < LANES; ++i)
    if (mask >> i & 1) values[i] = from[i];
  return load_halves(values);
}
inline void store_halves(Mask mask, uint16_t* to, Halves values) {
  if (mask == 0xffff) return store_halves(to, values);
  uint16_t all[LANES];
  store_halves(all, values);
  for (int64_t i = 0; i < LANES; ++i)
    if (mask >> i & 1) to[i] = all[i];
}

}  // namespace qwen_batch
