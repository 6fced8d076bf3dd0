// The operator that runs rows through their experts: checks its tensors and reads them. experts.cpp runs the experts.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

#include "check.h"
#include "experts.h"
#include "vector.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace experts_operator_detail {
namespace {

using Tensors = std::vector<Tensor>;

// Runs x [T, hidden] bfloat16 through the experts of its rows. Returns [T, hidden]. `router`: [experts, hidden]
// float32. `gate_up` and `down`: per expert, packed.
Tensor experts(const Tensor& x, const Tensor& router, const Tensors& gate_up, const Tensors& down, int64_t intermediate,
               int64_t per_token, bool normalise) {
  const auto count = static_cast<int64_t>(gate_up.size());
  check(x.dim() == 2 && x.scalar_type() == ScalarType::BFloat16, "experts: rows must be bfloat16");
  const int64_t rows = x.size(0), hidden = x.size(1);
  check(is_router(router, count, hidden), "experts: the router must be contiguous float32 [experts, hidden]");
  check(count == static_cast<int64_t>(down.size()) && 1 <= per_token && per_token <= count,
        "experts: each expert has two weights, and a token has at most all experts");
  check(hidden % LANES == 0 && intermediate % LANES == 0, "experts: sizes must be multiples of 16");
  std::vector<MlpWeights> mlps;
  for (int64_t i = 0; i < count; ++i) {
    check(PackedWeight::fits(gate_up[i], 2 * intermediate, hidden) && PackedWeight::fits(down[i], hidden, intermediate),
          "experts: a packed weight has another shape, or is for another processor");
    mlps.push_back(
        {PackedWeight::of(gate_up[i], 2 * intermediate, hidden), PackedWeight::of(down[i], hidden, intermediate)});
  }
  Tensor out = torch::stable::empty({rows, hidden}, ScalarType::BFloat16);
  if (rows == 0) return out;
  const Tensor contiguous_x = torch::stable::contiguous(x);
  const ExpertSizes sizes{hidden, intermediate, count, per_token, normalise};
  const Experts experts{static_cast<const float*>(router.const_data_ptr()), mlps};
  ExpertMemory memory(sizes, mlps[0], rows);
  as_team([&](const Member& member) {
    run_experts(member, experts, memory, static_cast<const uint16_t*>(contiguous_x.const_data_ptr()),
                static_cast<uint16_t*>(out.mutable_data_ptr()), rows);
  });
  return out;
}

}  // namespace
}  // namespace experts_operator_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def(
      "experts(Tensor x, Tensor router, Tensor[] gate_up, Tensor[] down, int intermediate, int per_token, "
      "bool normalise) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("experts", TORCH_BOX(&qwen_batch::experts_operator_detail::experts));
}
