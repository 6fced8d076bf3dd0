// Work cut into parts of about the same size.
#pragma once

#include <cstdint>
#include <vector>

namespace qwen_batch {

// Borders that cut `items`, in their order, into `parts` with about equal sums of `work_of(item)`.
template <typename Work>
std::vector<int64_t> balanced_borders(int64_t items, int64_t parts, const Work& work_of) {
  int64_t total = 0, item = 0, seen = 0;
  for (int64_t i = 0; i < items; ++i) total += work_of(i);
  std::vector<int64_t> borders{0};
  for (int64_t part = 1; part < parts; ++part) {
    for (; item < items && seen + work_of(item) / 2 < total * part / parts; ++item) seen += work_of(item);
    borders.push_back(item);
  }
  borders.push_back(items);
  return borders;
}

}  // namespace qwen_batch
