// Chooses the kernel that multiplies with a weight.

#include "product.h"

#include <algorithm>
#include <optional>

#include "amx_tiles.h"
#include "check.h"
#include "rows.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace product_detail {
namespace {

// Returns the kernel that `packed` is packed for. Each kernel's form has axes of its own.
std::optional<PackedWeight::Kernel> kernel_of(const Tensor& packed) {
  switch (packed.dim()) {
    case 4: return PackedWeight::Kernel::DOT;  // dot_pack
    case 5:                                    // int8_pack and int4_pack
      return is_int4(packed) ? PackedWeight::Kernel::INT4 : PackedWeight::Kernel::INT8;
    case 6: return PackedWeight::Kernel::AMX;  // amx_pack
    default: return std::nullopt;
  }
}

constexpr int64_t GATED_AT_ONCE = 256;  // columns: pieces for all members even in a single row

// Applies the gates to the member's pieces of the rows.
void gate(const Member& member, const Product& product) {
  const int64_t half = product.weight.n / 2, pieces = (half + GATED_AT_ONCE - 1) / GATED_AT_ONCE;
  for (int64_t i = member.begin(product.rows * pieces); i < member.end(product.rows * pieces); ++i) {
    const int64_t row = i / pieces, column = i % pieces * GATED_AT_ONCE;
    const uint16_t* left = product.out + row * 2 * half + column;
    swiglu_row(left, left + half, product.gated + row * half + column, std::min(GATED_AT_ONCE, half - column));
  }
}

}  // namespace
}  // namespace product_detail

bool PackedWeight::is_packed(const Tensor& packed) { return product_detail::kernel_of(packed).has_value(); }

bool PackedWeight::fits(const Tensor& packed, int64_t n, int64_t k) {
  const auto kernel = product_detail::kernel_of(packed);
  if (!kernel) return false;
  switch (*kernel) {
    case Kernel::AMX: return amx_fits(packed, n, k);
    case Kernel::DOT: return dot_fits(packed, n, k);
    case Kernel::INT8: return int8_fits(packed, n, k);
    case Kernel::INT4: return int4_fits(packed, n, k);
  }
  return false;
}

PackedWeight PackedWeight::of(const Tensor& packed, int64_t n, int64_t k) {
  return {
      .kernel = product_detail::kernel_of(packed).value(),
      .data = packed.const_data_ptr(),
      .n = n,
      .k = k,
      .bytes = packed.numel() * static_cast<int64_t>(packed.element_size()),
  };
}

int64_t scratch_bytes(const PackedWeight& weight, int64_t rows) {
  switch (weight.kernel) {
    case PackedWeight::Kernel::AMX: return amx_scratch_bytes(rows, weight.k);
    case PackedWeight::Kernel::DOT: return dot_scratch_bytes(rows, weight.k);
    case PackedWeight::Kernel::INT8: return int8_scratch_bytes(rows, weight.k);
    case PackedWeight::Kernel::INT4: return int4_scratch_bytes(rows, weight.k);
  }
  return 0;
}

void multiply(const Member& member, const Product& product, Overlap* overlap) {
  switch (product.weight.kernel) {
    case PackedWeight::Kernel::AMX: amx_multiply(member, product); break;
    case PackedWeight::Kernel::DOT: dot_multiply(member, product, overlap); break;
    case PackedWeight::Kernel::INT8: int8_multiply(member, product, overlap); break;
    case PackedWeight::Kernel::INT4: int4_multiply(member, product, overlap); break;
  }
  if (product.gated != nullptr && !(product.weight.kernel == PackedWeight::Kernel::DOT && dot_gates(product))) {
    member.wait();
    product_detail::gate(member, product);
  }
}

// Products on AMX tiles are memory-bound.
bool is_compute_bound(const PackedWeight& weight) {
  switch (weight.kernel) {
    case PackedWeight::Kernel::AMX: return false;
    case PackedWeight::Kernel::DOT:
    case PackedWeight::Kernel::INT4: return true;
    case PackedWeight::Kernel::INT8: return !amx_granted();
  }
  return false;
}

Tensor product_of(const Tensor& x, const Tensor& packed, int64_t n) {
  const int64_t rows = x.size(0), k = x.size(1);
  check(x.dim() == 2 && x.scalar_type() == ScalarType::BFloat16, "linear: a packed weight takes bfloat16 rows");
  check(PackedWeight::fits(packed, n, k), "linear: the packed weight has another shape, or is for another processor");
  const PackedWeight weight = PackedWeight::of(packed, n, k);
  Tensor out = torch::stable::empty({rows, n}, ScalarType::BFloat16);
  if (rows == 0) return out;
  const Tensor contiguous_x = torch::stable::contiguous(x);
  Scratch scratch(scratch_bytes(weight, rows));
  const Product product{
      .x = static_cast<const uint16_t*>(contiguous_x.const_data_ptr()),
      .weight = weight,
      .out = static_cast<uint16_t*>(out.mutable_data_ptr()),
      .rows = rows,
      .scratch = scratch.data(),
  };
  as_team([&](const Member& member) { multiply(member, product, nullptr); });
  return out;
}

}  // namespace qwen_batch
