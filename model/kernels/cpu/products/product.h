// y = x W^T by a team, with the kernel for which the weight was packed.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "team.h"

namespace qwen_batch {

class Beside;  // what a thread does between blocks of a product (beside.h)

// A weight [n, k] in the packed form of one of the kernels.
struct PackedWeight {
  enum class Kernel { AMX, DOT, INT8 };

  Kernel kernel;
  const void* data;
  int64_t n, k, bytes;

  // Whether `packed` is one, told by its number of axes; whether it is one [n, k] that can be multiplied with here.
  static bool is_packed(const torch::stable::Tensor& packed);
  static bool fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
  static PackedWeight of(const torch::stable::Tensor& packed, int64_t n, int64_t k);
};

constexpr int64_t DOT_COLUMNS = 64;  // of a block of a weight for DOT (dot_linear.cpp)

// x [rows, k] to out [rows, n], both bfloat16. `scratch`: `scratch_bytes` of them, at a multiple of 64. `gated`, if there is one,
// [rows, n / 2]: silu of the left half of each row of `out` times its right half; what becomes of `out` is then open.
struct Product {
  const uint16_t* x;
  const PackedWeight& weight;
  uint16_t* out;
  int64_t rows;
  void* scratch;
  uint16_t* gated = nullptr;
};

int64_t scratch_bytes(const PackedWeight& weight, int64_t rows);

// Whether a thread multiplies some dozens of rows with such a weight more slowly than it reads the weight from memory.
bool bound_by_arithmetic(const PackedWeight& weight);

// Each member's share; what others do is there after the next wait. `beside`: as far as the kernel knows how to.
void multiply(const Member& member, const Product& product, Beside* beside);

void amx_multiply(const Member& member, const Product& product);
void dot_multiply(const Member& member, const Product& product, Beside* beside);
void int8_multiply(const Member& member, const Product& product, Beside* beside);
bool dot_gates(const Product& product);  // whether `dot_multiply` does what `gated` asks for
bool amx_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
bool dot_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
bool int8_fits(const torch::stable::Tensor& packed, int64_t n, int64_t k);
int64_t amx_scratch_bytes(int64_t rows, int64_t k);
int64_t int8_scratch_bytes(int64_t rows, int64_t k);

// The same by all threads, for tensors: x [rows, k] bfloat16 to a new [rows, n]. Raises `std::runtime_error` for what does not fit.
torch::stable::Tensor product_of(const torch::stable::Tensor& x, const torch::stable::Tensor& packed, int64_t n);

// Memory that begins at a multiple of 64.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : memory_(torch::stable::empty({bytes + 64}, torch::headeronly::ScalarType::Byte)) {}

  void* data() const { return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory_.mutable_data_ptr()) + 63) / 64 * 64); }

 private:
  torch::stable::Tensor memory_;
};

}  // namespace qwen_batch
