// y = x W^T by a team of threads, with the kernel that the weight is packed for.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "team.h"

namespace qwen_batch {

class Overlap;  // what a thread does between blocks of a product (overlap.h)

// A weight [n, k] in the packed form of one of the kernels.
struct PackedWeight {
  enum class Kernel { AMX, DOT, INT8, INT4 };

  Kernel kernel;
  const void* data;
  int64_t n, k, bytes;

  // `is_packed`: whether `packed` is a packed weight, told by its axes. `fits`: whether it is a packed weight
  // [n, k] that this processor can multiply with.
  static bool is_packed(const torch::stable::Tensor& packed);
  static bool fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
  static PackedWeight of(const torch::stable::Tensor& packed, int64_t n, int64_t k);
};

constexpr int64_t DOT_COLUMNS = 64;  // columns per block of a weight for DOT (dot_linear.cpp)

// Multiplies x [rows, k] into out [rows, n], both bfloat16. `scratch`: `scratch_bytes` bytes, aligned to 64. `gated` is
// optional, [rows, n / 2]: it receives silu of the left half of each row of `out` times the right half. The contents of
// `out` are then undefined.
struct Product {
  const uint16_t* x;
  const PackedWeight& weight;
  uint16_t* out;
  int64_t rows;
  void* scratch;
  uint16_t* gated = nullptr;
};

int64_t scratch_bytes(const PackedWeight& weight, int64_t rows);

// Returns whether the product is compute-bound: with some dozens of rows, a thread multiplies more slowly than it reads
// the weight from memory.
bool is_compute_bound(const PackedWeight& weight);

// Does the member's share. The other members' results are complete after the next wait. `overlap` may be nullptr;
// kernels that do not support it ignore it.
void multiply(const Member& member, const Product& product, Overlap* overlap);

void amx_multiply(const Member& member, const Product& product);
void dot_multiply(const Member& member, const Product& product, Overlap* overlap);
void int8_multiply(const Member& member, const Product& product, Overlap* overlap);
void int4_multiply(const Member& member, const Product& product, Overlap* overlap);
bool dot_gates(const Product& product);  // true if `dot_multiply` itself applies the gates
bool amx_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
bool dot_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
bool int8_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
bool int4_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
bool is_int4(const torch::stable::Tensor& packed);  // true for the form of `int4_pack`
int64_t amx_scratch_bytes(int64_t rows, int64_t k);
int64_t dot_scratch_bytes(int64_t rows, int64_t k);
int64_t int8_scratch_bytes(int64_t rows, int64_t k);
int64_t int4_scratch_bytes(int64_t rows, int64_t k);

// Multiplies tensors on all threads: x [rows, k] bfloat16 to a new [rows, n]. Raises `std::runtime_error` if shapes or
// types do not fit.
torch::stable::Tensor product_of(const torch::stable::Tensor& x, const torch::stable::Tensor& packed, int64_t n);

// Memory that is aligned to 64 bytes.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : memory_(torch::stable::empty({bytes + 64}, torch::headeronly::ScalarType::Byte)) {}

  void* data() const {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory_.mutable_data_ptr()) + 63) / 64 * 64);
  }

 private:
  torch::stable::Tensor memory_;
};

}  // namespace qwen_batch
