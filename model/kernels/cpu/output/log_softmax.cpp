// The largest logits of each row, and the sum of its exponentials as an integer. One thread computes a row alone, so a
// row's bits depend neither on the other rows nor on the number of threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <tuple>

#include "check.h"
#include "log_softmax_row.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace log_softmax_detail {
namespace {

struct Results {
  float* best;
  int64_t* totals;
  int64_t* ids;
  float* values;
};

template <typename Logit>
void compute(const Tensor& logits, int64_t count, const Results& out) {
  const int64_t vocab = logits.size(1);
  const auto* all = static_cast<const Logit*>(logits.const_data_ptr());
  torch::stable::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const LogSoftmaxRow<Logit> computed(all + row * vocab, vocab);
      out.best[row] = computed.best();
      out.totals[row] = computed.total();
      computed.largest(count, out.values + row * count, out.ids + row * count);
    }
  });
}

// Returns four tensors for logits [n, vocab], float32 or bfloat16: each row's largest logit [n] float32; the sum of
// 2^40 e^(logit - largest) over all logits [n] int64, or 0 if one is NaN or infinity or if all are -inf; the `count`
// largest logits' places [n, count] int64, the largest first, and of equal ones the lowest place; and these logits
// [n, count] float32.
std::tuple<Tensor, Tensor, Tensor, Tensor> log_softmax_sums(const Tensor& logits, int64_t count) {
  check(logits.dim() == 2 && logits.is_contiguous() &&
            (logits.scalar_type() == ScalarType::BFloat16 || logits.scalar_type() == ScalarType::Float),
        "log_softmax_sums: logits must be contiguous rows of bfloat16 or float32");
  check(logits.size(1) >= 1 && logits.size(1) <= int64_t{1} << 19, "log_softmax_sums: a row has 1 to 2^19 logits");
  check(0 <= count && count <= logits.size(1), "log_softmax_sums: there are fewer logits than are wanted");
  const int64_t rows = logits.size(0);
  Tensor best = torch::stable::empty({rows}, ScalarType::Float),
         totals = torch::stable::empty({rows}, ScalarType::Long),
         ids = torch::stable::empty({rows, count}, ScalarType::Long),
         values = torch::stable::empty({rows, count}, ScalarType::Float);
  const Results out{static_cast<float*>(best.mutable_data_ptr()), static_cast<int64_t*>(totals.mutable_data_ptr()),
                    static_cast<int64_t*>(ids.mutable_data_ptr()), static_cast<float*>(values.mutable_data_ptr())};
  if (logits.scalar_type() == ScalarType::Float) compute<float>(logits, count, out);
  else compute<uint16_t>(logits, count, out);
  return {best, totals, ids, values};
}

}  // namespace
}  // namespace log_softmax_detail
}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("log_softmax_sums(Tensor logits, int count) -> (Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("log_softmax_sums", TORCH_BOX(&qwen_batch::log_softmax_detail::log_softmax_sums));
}
