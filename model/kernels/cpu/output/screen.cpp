// Finds the largest logits of each row exactly, without computing all logits.
//
// A product with 8-bit weights, which takes half as long, bounds every logit (screen_bounds.h). First, the strips with
// the highest bounds are computed. Then all strips are computed that may still hold a logit as large as the wanted
// ones. If a mask leaves a row few strips, these are computed without bounds. Each logit is the same chain of dot
// products as in dot_linear.cpp, so its bits are the same.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <vector>

#include "check.h"
#include "product.h"
#include "screen_bounds.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace screen_detail {
namespace {

constexpr int64_t WORTHWHILE = 32;  // if more than one strip in WORTHWHILE is picked, the whole product is as fast
constexpr int64_t CHAINS = 4;       // sums computed together, so that an addition need not wait for the one before
constexpr uint16_t NEGATIVE_INFINITY = 0xff80;

// Returns a bound: every float below it rounds to a bfloat16 that is less than `value`.
float lower_rounding_boundary(uint16_t value) {
  const float exact = to_float(value);
  if (exact == 0.0f) return -TINY;
  if (!std::isfinite(exact)) return -INFINITY;
  return 0.5f * (exact + to_float(static_cast<uint16_t>(exact > 0.0f ? value - 1 : value + 1)));
}

// A strip of a row's logits, and its place in the output.
struct Pick {
  int64_t strip, row, place;
};

// Logits and their column numbers.
struct Logits {
  uint16_t* values;
  int64_t* columns;
};

// Returns these rows of x [rows, k], one after the other.
std::vector<uint16_t> gathered(const uint16_t* x, int64_t k, const std::vector<int64_t>& rows) {
  std::vector<uint16_t> found(rows.size() * k);
  for (size_t index = 0; index < rows.size(); ++index) std::copy_n(x + rows[index] * k, k, found.data() + index * k);
  return found;
}

// Returns true if a row may choose logits in few strips only, and adds these strips to `found`.
bool leaves_few(const RowMasks& masks, int64_t row, std::vector<int64_t>& found) {
  if (masks.bits == nullptr) return false;
  const int64_t strips = strips_of(masks.n);
  for (int64_t strip = 0; strip < strips; ++strip) {
    if (masks.allowed(row, strip) == 0) continue;
    if (static_cast<int64_t>(found.size()) == strips / WORTHWHILE) {
      found.clear();
      return false;
    }
    found.push_back(strip);
  }
  return true;
}

class Screening {
 public:
  Screening(const Tensor& hidden, const Tensor& weight, const RowMasks& masks)
      : masks_(masks),
        x_(static_cast<const uint16_t*>(hidden.const_data_ptr())),
        weight_(static_cast<const uint16_t*>(weight.const_data_ptr())),
        rows_(hidden.size(0)),
        k_(hidden.size(1)),
        strips_(strips_of(masks.n)),
        picked_(rows_) {
    for (int64_t row = 0; row < rows_; ++row)
      if (!leaves_few(masks_, row, picked_[row])) wide_.push_back(row);
  }

  // Returns the rows that need bounds.
  const std::vector<int64_t>& wide() const { return wide_; }

  // Picks, for the member's share of the wide rows, the strips that may hold one of the `counts[row]` largest logits. A
  // row without valid bounds gets no strips.
  void pick(const Member& member, const ScreenBounds& bounds, const int64_t* counts) {
    const auto count = static_cast<int64_t>(wide_.size());
    for (int64_t index = member.begin(count); index < member.end(count); ++index) {
      if (!bounds.valid(index)) continue;
      const int64_t row = wide_[index];
      const float* upper = bounds.of_row(index);
      const float bound = min_of_largest(row, upper, counts[row]);
      for (int64_t strip = 0; strip < strips_; ++strip)
        if (!(upper[strip] < bound) && masks_.allowed(row, strip) != 0) picked_[row].push_back(strip);
    }
  }

  // Returns the number of logits in the row with the most picks.
  int64_t width() const {
    size_t max_strips = 0;
    for (const auto& strips : picked_) max_strips = std::max(max_strips, strips.size());
    return static_cast<int64_t>(max_strips) * STRIP;
  }

  // Returns all picked strips with their places in [rows, width], ordered by strip so that equal weights are used
  // together. Returns none if a row has no valid bounds or too many strips are picked.
  std::vector<Pick> picks() const {
    std::vector<Pick> all;
    const int64_t logits_per_row = width();
    for (const int64_t row : wide_)
      if (picked_[row].empty()) return {};  // valid bounds would have picked the strip with the largest one
    for (int64_t row = 0; row < rows_; ++row) {
      int64_t place = row * logits_per_row;
      for (const int64_t strip : picked_[row]) {
        all.push_back({.strip = strip, .row = row, .place = place});
        place += STRIP;
      }
    }
    if (static_cast<int64_t>(all.size()) > rows_ * (strips_ / WORTHWHILE + 1)) return {};
    std::sort(all.begin(), all.end(), [](const Pick& a, const Pick& b) { return a.strip < b.strip; });
    return all;
  }

  // Computes the logits of up to CHAINS picks.
  void compute(const Pick* picks, int64_t count, const Logits& out) const {
    const uint16_t *w[CHAINS], *x[CHAINS];
    Floats sums[CHAINS];
    for (int64_t i = 0; i < CHAINS; ++i) {
      const Pick& pick = picks[std::min(i, count - 1)];
      const int64_t column = pick.strip * STRIP;
      w[i] = weight_ + column / DOT_COLUMNS * DOT_COLUMNS * k_ + column % DOT_COLUMNS * 2;
      x[i] = x_ + pick.row * k_;
      sums[i] = zeros();
    }
    for (int64_t p = 0; p < k_ / 2; ++p)
      for (int64_t i = 0; i < CHAINS; ++i) {
        const Words weights = load_words(w[i] + p * 2 * DOT_COLUMNS);
        sums[i] = add_dots(sums[i], weights, splat_word(pair_at(x[i] + 2 * p)));
      }
    for (int64_t i = 0; i < count; ++i) {
      const Mask present = masks_.allowed(picks[i].row, picks[i].strip);
      store_halves(present, out.values + picks[i].place, to_bfloat16(sums[i]));
      for (int64_t lane = 0; lane < STRIP; ++lane)
        if (present >> lane & 1) out.columns[picks[i].place + lane] = picks[i].strip * STRIP + lane;
    }
  }

 private:
  // Returns a lower bound for the row's `count`-th largest logit: at least `count` computed logits reach it.
  float min_of_largest(int64_t row, const float* upper, int64_t count) const {
    std::vector<Pick> picks;
    for (const int64_t strip : highest(upper, std::min(count, strips_)))
      picks.push_back({.strip = strip, .row = row, .place = static_cast<int64_t>(picks.size()) * STRIP});
    const auto computed = static_cast<int64_t>(picks.size());
    std::vector<uint16_t> values(computed * STRIP, NEGATIVE_INFINITY);
    std::vector<int64_t> columns(computed * STRIP);
    for (int64_t first = 0; first < computed; first += CHAINS)
      compute(picks.data() + first, std::min(CHAINS, computed - first), {values.data(), columns.data()});
    if (count > static_cast<int64_t>(values.size())) return -INFINITY;
    const auto larger = [](uint16_t a, uint16_t b) { return to_float(a) > to_float(b); };
    std::nth_element(values.begin(), values.begin() + count - 1, values.end(), larger);
    return lower_rounding_boundary(values[count - 1]);
  }

  // Returns the strips with the `count` highest bounds of a row.
  std::vector<int64_t> highest(const float* upper, int64_t count) const {
    if (count == 1) return {std::max_element(upper, upper + strips_) - upper};
    std::vector<float> sorted(upper, upper + strips_);
    std::nth_element(sorted.begin(), sorted.begin() + count - 1, sorted.end(), std::greater<>());
    std::vector<int64_t> found;
    for (int64_t strip = 0; strip < strips_ && static_cast<int64_t>(found.size()) < count; ++strip)
      if (upper[strip] >= sorted[count - 1]) found.push_back(strip);
    return found;
  }

  const RowMasks masks_;
  const uint16_t *x_, *weight_;
  const int64_t rows_, k_, strips_;
  std::vector<std::vector<int64_t>> picked_;
  std::vector<int64_t> wide_;
};

// Finds, for each row of hidden [rows, k], the `counts[row]` largest of its n logits, which are its product with a
// weight [n, k]. Logits equal to one of these are included; smaller logits may be, too.
// Returns the logits, bfloat16 [rows, width], and their columns, int64 [rows, width], rising along a row. Places
// without a logit have -inf and column 0. A width of 0 means that too many logits would have to be computed, that a
// row's bounds are not valid, or that no row may choose any logit. `weight`: from `dot_pack`. `screen` and `errors`:
// from `screen_pack`. `masks`, int32 [rows, words]: bit b of word w is set if the row may choose logit 32 w + b. Other
// logits do not exist for the row. Empty if every row may choose every logit.
std::tuple<Tensor, Tensor> largest_logits(const Tensor& hidden, const Tensor& weight, const Tensor& screen,
                                          const Tensor& errors, const Tensor& counts, int64_t n, const Tensor& masks) {
  const int64_t rows = hidden.size(0), k = hidden.size(1);
  check(hidden.dim() == 2 && hidden.scalar_type() == ScalarType::BFloat16 && hidden.is_contiguous(),
        "largest_logits: hidden states must be contiguous bfloat16 rows");
  check(PackedWeight::fits(weight, n, k) && PackedWeight::of(weight, n, k).kernel == PackedWeight::Kernel::DOT,
        "largest_logits: the weight is not packed for this");
  check(PackedWeight::fits(screen, n, k) && PackedWeight::of(screen, n, k).kernel == PackedWeight::Kernel::INT8,
        "largest_logits: the screen is not packed for this");
  check(
      errors.scalar_type() == ScalarType::Float && errors.is_contiguous() && errors.numel() == 2 * strips_of(n) * STRIP,
      "largest_logits: the errors belong to another weight");
  check(counts.scalar_type() == ScalarType::Long && counts.is_contiguous() && counts.numel() == rows,
        "largest_logits: counts must be contiguous int64, one per row");
  check(masks.numel() == 0 || (masks.scalar_type() == ScalarType::Int && masks.is_contiguous() && masks.dim() == 2 &&
                               masks.size(0) == rows && 2 * masks.size(1) >= strips_of(n)),
        "largest_logits: masks must be contiguous int32, one bit per logit");
  const auto* wanted = static_cast<const int64_t*>(counts.const_data_ptr());
  for (int64_t row = 0; row < rows; ++row) check(wanted[row] >= 1, "largest_logits: a row wants at least one logit");
  const RowMasks allowed = {.bits = masks.numel() == 0 ? nullptr : static_cast<const uint16_t*>(masks.const_data_ptr()),
                            .strips_per_row = masks.numel() == 0 ? 0 : 2 * masks.size(1),
                            .n = n};
  Screening screening(hidden, weight, allowed);
  if (!screening.wide().empty()) {
    const std::vector<uint16_t> x =
        gathered(static_cast<const uint16_t*>(hidden.const_data_ptr()), k, screening.wide());
    ScreenBounds bounds({.x = x.data(), .numbers = screening.wide()}, PackedWeight::of(screen, n, k),
                        static_cast<const float*>(errors.const_data_ptr()), allowed);
    as_team([&](const Member& member) {
      bounds.compute(member);
      screening.pick(member, bounds, wanted);
    });
  }
  const std::vector<Pick> picks = screening.picks();
  const auto count = static_cast<int64_t>(picks.size());
  const int64_t width = count == 0 ? 0 : screening.width();
  Tensor values = torch::stable::empty({rows, width}, ScalarType::BFloat16),
         columns = torch::stable::empty({rows, width}, ScalarType::Long);
  const Logits out{static_cast<uint16_t*>(values.mutable_data_ptr()),
                   static_cast<int64_t*>(columns.mutable_data_ptr())};
  std::fill(out.values, out.values + rows * width, NEGATIVE_INFINITY);
  std::fill(out.columns, out.columns + rows * width, 0);
  as_team([&](const Member& member) {
    for (int64_t first = member.team.take() * CHAINS; first < count; first = member.team.take() * CHAINS)
      screening.compute(picks.data() + first, std::min(CHAINS, count - first), out);
  });
  return {values, columns};
}

}  // namespace
}  // namespace screen_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def(
      "largest_logits(Tensor hidden, Tensor weight, Tensor screen, Tensor errors, Tensor counts, int n, Tensor "
      "masks) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("largest_logits", TORCH_BOX(&qwen_batch::screen_detail::largest_logits));
}
