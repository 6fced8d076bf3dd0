// Which kernel multiplies with a weight.

#include "product.h"

#include "amx_tiles.h"
#include "check.h"
#include "rows.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

constexpr int64_t AMX_AXES = 6, DOT_AXES = 4, INT8_AXES = 5;  // of a weight from amx_pack, dot_pack and int8_pack

// Each member's rows.
void gate(const Member& member, const Product& product) {
#if QWEN_BATCH_HAS_AVX512
  const int64_t half = product.weight.n / 2;
  for (int64_t row = member.begin(product.rows); row < member.end(product.rows); ++row) {
    const uint16_t* left = product.out + row * 2 * half;
    swiglu_row(left, left + half, product.gated + row * half, half);
  }
#endif
}

}  // namespace

bool PackedWeight::is_packed(const Tensor& packed) { return packed.dim() >= DOT_AXES && packed.dim() <= AMX_AXES; }

bool PackedWeight::fits(const Tensor& packed, int64_t n, int64_t k) {
  switch (packed.dim()) {
    case AMX_AXES: return amx_fits(packed, n, k);
    case DOT_AXES: return dot_fits(packed, n, k);
    case INT8_AXES: return int8_fits(packed, n, k);
    default: return false;
  }
}

PackedWeight PackedWeight::of(const Tensor& packed, int64_t n, int64_t k) {
  const Kernel kernel = packed.dim() == AMX_AXES ? Kernel::AMX : packed.dim() == DOT_AXES ? Kernel::DOT : Kernel::INT8;
  return {kernel, packed.const_data_ptr(), n, k, packed.numel() * static_cast<int64_t>(packed.element_size())};
}

int64_t scratch_bytes(const PackedWeight& weight, int64_t rows) {
  switch (weight.kernel) {
    case PackedWeight::Kernel::AMX: return amx_scratch_bytes(rows, weight.k);
    case PackedWeight::Kernel::INT8: return int8_scratch_bytes(rows, weight.k);
    default: return 0;
  }
}

void multiply(const Member& member, const Product& product, Beside* beside) {
  switch (product.weight.kernel) {
    case PackedWeight::Kernel::AMX: amx_multiply(member, product); break;
    case PackedWeight::Kernel::DOT: dot_multiply(member, product, beside); break;
    case PackedWeight::Kernel::INT8: int8_multiply(member, product, beside); break;
  }
  if (product.gated != nullptr && !(product.weight.kernel == PackedWeight::Kernel::DOT && dot_gates(product))) {
    member.wait();
    gate(member, product);
  }
}

// Products on AMX tiles are bound by memory.
bool bound_by_arithmetic(const PackedWeight& weight) {
  return weight.kernel == PackedWeight::Kernel::DOT || (weight.kernel == PackedWeight::Kernel::INT8 && !amx_granted());
}

Tensor product_of(const Tensor& x, const Tensor& packed, int64_t n) {
  const int64_t rows = x.size(0), k = x.size(1);
  check(x.dim() == 2 && x.scalar_type() == ScalarType::BFloat16, "linear: a packed weight takes bfloat16 rows");
  check(PackedWeight::fits(packed, n, k), "linear: the packed weight has another shape, or is for another processor");
  const PackedWeight weight = PackedWeight::of(packed, n, k);
  Tensor out = torch::stable::empty({rows, n}, ScalarType::BFloat16);
  if (rows == 0) return out;
  const Tensor in_order = torch::stable::contiguous(x);
  Scratch scratch(scratch_bytes(weight, rows));
  const Product product{static_cast<const uint16_t*>(in_order.const_data_ptr()), weight, static_cast<uint16_t*>(out.mutable_data_ptr()), rows, scratch.data()};
  as_team([&](const Member& member) { multiply(member, product, nullptr); });
  return out;
}

}  // namespace qwen_batch
