// What kernels refuse. The text reaches Python as a `RuntimeError`.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace qwen_batch {

inline void check(bool holds, const char* otherwise) {
  if (!holds) throw std::runtime_error(otherwise);
}

// `count` numbers of pages, of a cache that has `pages`.
inline void check_page_numbers(const int32_t* numbers, int64_t count, int64_t pages, const char* otherwise) {
  for (int64_t i = 0; i < count; ++i) check(numbers[i] >= 0 && numbers[i] < pages, otherwise);
}

}  // namespace qwen_batch
