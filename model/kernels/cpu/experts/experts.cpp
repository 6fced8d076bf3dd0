// Runs rows through their experts: sorts them by expert, multiplies expert by expert, and adds each row's results.
//
// With many experts at work, a thread takes whole ones: it needs no barrier, and an expert's intermediate results stay
// in its cache. With few, as for a lone token on many cores, all threads share the columns of one expert after another.

#include "experts.h"

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstring>
#include <numeric>

#include "router.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace experts_detail {
namespace {

constexpr int64_t ROWS_AT_ONCE = 128;  // rows of an expert between its two products, which stay in a cache
constexpr int64_t WHOLE_EXPERTS = 2;   // with this many for each thread, a thread takes whole experts

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// A buffer holds the wide product, then the gated values, then scratch for the products.
int64_t wide_bytes(const ExpertSizes& sizes) { return aligned(ROWS_AT_ONCE * 2 * sizes.intermediate * 2); }
int64_t gated_bytes(const ExpertSizes& sizes) { return aligned(ROWS_AT_ONCE * sizes.intermediate * 2); }

// Computes the logits of the member's share of experts, for all rows: so a lone row keeps all threads busy, too.
void compute_logits(const Member& member, const Experts& experts, const ExpertMemory& memory, const uint16_t* x,
                    int64_t rows) {
  const ExpertSizes& sizes = memory.sizes;
  for (int64_t expert = member.begin(sizes.count); expert < member.end(sizes.count); ++expert)
    for (int64_t row = 0; row < rows; ++row)
      memory.logits[row * sizes.count + expert] =
          router_logit(x + row * sizes.hidden, experts.router + expert * sizes.hidden, sizes.hidden);
}

// Multiplies the rows of one expert, `member` with its team.
void run_expert(const Member& member, const MlpWeights& mlp, int64_t expert, const ExpertMemory& memory, char* buffer) {
  const ExpertSizes& sizes = memory.sizes;
  auto* wide = reinterpret_cast<uint16_t*>(buffer);
  auto* gated = reinterpret_cast<uint16_t*>(buffer + wide_bytes(sizes));
  void* scratch = buffer + wide_bytes(sizes) + gated_bytes(sizes);
  const int64_t end = memory.order.end(expert);
  for (int64_t begin = memory.order.begin(expert); begin < end; begin += ROWS_AT_ONCE) {
    const int64_t count = std::min(ROWS_AT_ONCE, end - begin);
    const Product up{
        .x = memory.gathered + begin * sizes.hidden,
        .weight = mlp.gate_up,
        .out = wide,
        .rows = count,
        .scratch = scratch,
        .gated = gated,
    };
    multiply(member, up, nullptr);
    member.wait();
    const Product down{
        .x = gated,
        .weight = mlp.down,
        .out = memory.projected + begin * sizes.hidden,
        .rows = count,
        .scratch = scratch,
    };
    multiply(member, down, nullptr);
    member.wait();
  }
}

// Adds the results of a row's experts.
void combine(const ExpertMemory& memory, int64_t row, uint16_t* out) {
  const ExpertSizes& sizes = memory.sizes;
  for (int64_t i = 0; i < sizes.hidden; i += LANES) {
    Floats sum = zeros();
    for (int64_t place = 0; place < sizes.per_row; ++place) {
      const Floats part = load_row(memory.projected + memory.order.entry(row, place) * sizes.hidden + i);
      sum = multiply_add(part, splat(memory.weights[row * sizes.per_row + place]), sum);
    }
    store_row(out + i, sum);
  }
}

// Returns where each of the parts of `sizes` bytes begins, all aligned to 64; the last number is their sum.
std::vector<int64_t> places_of(const std::vector<int64_t>& sizes) {
  std::vector<int64_t> places{0};
  for (const int64_t size : sizes) places.push_back(places.back() + aligned(size));
  return places;
}

}  // namespace
}  // namespace experts_detail

void ExpertOrder::sort(const int64_t* chosen, int64_t rows) {
  std::fill(begin_.begin(), begin_.end(), 0);
  const int64_t entries = rows * per_row_, count = static_cast<int64_t>(next_.size());
  for (int64_t i = 0; i < entries; ++i) ++begin_[chosen[i] + 1];
  std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
  std::copy(begin_.begin(), begin_.end() - 1, next_.begin());
  for (int64_t i = 0; i < entries; ++i) {
    entry_[i] = next_[chosen[i]]++;
    row_[entry_[i]] = i / per_row_;
  }
  busy_.clear();
  for (int64_t expert = 0; expert < count; ++expert)
    if (end(expert) > begin(expert)) busy_.push_back(expert);
  std::sort(busy_.begin(), busy_.end(), [&](int64_t a, int64_t b) { return end(a) - begin(a) > end(b) - begin(b); });
}

ExpertMemory::ExpertMemory(const ExpertSizes& of, const MlpWeights& mlp, int64_t max_rows)
    : sizes(of),
      order(of, max_rows),
      buffer_bytes(experts_detail::wide_bytes(of) + experts_detail::gated_bytes(of) +
                   experts_detail::aligned(std::max(scratch_bytes(mlp.gate_up, experts_detail::ROWS_AT_ONCE),
                                                    scratch_bytes(mlp.down, experts_detail::ROWS_AT_ONCE)))),
      memory_(0) {
  const int64_t entries = max_rows * of.per_row, values = entries * of.hidden * 2;
  const std::vector<int64_t> places =
      experts_detail::places_of({max_rows * of.count * 4, entries * 4, entries * 8, values, values,
                                 torch::stable::get_num_threads() * buffer_bytes});
  memory_ = Scratch(places.back());
  char* start = static_cast<char*>(memory_.data());
  logits = reinterpret_cast<float*>(start + places[0]);
  weights = reinterpret_cast<float*>(start + places[1]);
  chosen = reinterpret_cast<int64_t*>(start + places[2]);
  gathered = reinterpret_cast<uint16_t*>(start + places[3]);
  projected = reinterpret_cast<uint16_t*>(start + places[4]);
  buffers = start + places[5];
}

bool is_router(const Tensor& tensor, int64_t experts, int64_t hidden) {
  return tensor.scalar_type() == ScalarType::Float && tensor.is_contiguous() && tensor.dim() == 2 &&
         tensor.size(0) == experts && tensor.size(1) == hidden;
}

void run_experts(const Member& member, const Experts& experts, ExpertMemory& memory, const uint16_t* x, uint16_t* out,
                 int64_t rows) {
  using namespace experts_detail;
  const ExpertSizes& sizes = memory.sizes;
  compute_logits(member, experts, memory, x, rows);
  member.wait();
  for (int64_t row = member.begin(rows); row < member.end(rows); ++row)
    choose_experts(memory.logits + row * sizes.count, sizes.count, sizes.per_row, sizes.normalise,
                   memory.chosen + row * sizes.per_row, memory.weights + row * sizes.per_row);
  member.wait();
  if (member.first == 0) memory.order.sort(memory.chosen, rows);
  member.wait();
  const int64_t entries = rows * sizes.per_row;
  for (int64_t i = member.begin(entries); i < member.end(entries); ++i)
    std::memcpy(memory.gathered + i * sizes.hidden, x + memory.order.row_at(i) * sizes.hidden,
                sizes.hidden * sizeof(uint16_t));
  member.wait();
  const std::vector<int64_t>& busy = memory.order.busy();
  const auto number = static_cast<int64_t>(busy.size());
  if (number >= WHOLE_EXPERTS * member.team.parts()) {
    Team alone(1);
    char* buffer = memory.buffers + member.first * memory.buffer_bytes;
    for (int64_t i = member.team.take(); i < number; i = member.team.take())
      run_expert({alone, 0, 1}, experts.mlps[busy[i]], busy[i], memory, buffer);
    member.wait();
  } else {
    for (const int64_t expert : busy) run_expert(member, experts.mlps[expert], expert, memory, memory.buffers);
  }
  for (int64_t row = member.begin(rows); row < member.end(rows); ++row) combine(memory, row, out + row * sizes.hidden);
}

}  // namespace qwen_batch
