// Checks of arguments. The text of a failed check reaches Python as a `RuntimeError`.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace qwen_batch {

inline void check(bool holds, const char* message) {
  if (!holds) throw std::runtime_error(message);
}

// Checks that `count` page numbers lie within a cache of `pages` pages.
inline void check_page_numbers(const int32_t* numbers, int64_t count, int64_t pages, const char* message) {
  for (int64_t i = 0; i < count; ++i) check(numbers[i] >= 0 && numbers[i] < pages, message);
}

}  // namespace qwen_batch
