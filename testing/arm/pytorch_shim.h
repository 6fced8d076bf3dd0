// What the kernels need of PyTorch on a machine without PyTorch: tensors, a registry of operators, threads.
// pytorch_shim.cpp implements PyTorch's stable C interface with it.
#pragma once

#include <torch/csrc/stable/library.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace shim {

// A tensor. Copies share the memory.
struct Tensor {
  std::shared_ptr<void> memory;  // released with its last tensor
  char* data = nullptr;
  int32_t type = 0;  // PyTorch's number of the type
  std::vector<int64_t> sizes, strides;

  static Tensor empty(int32_t type, std::vector<int64_t> sizes);  // contiguous
  int64_t values() const;                                         // their number
  int64_t span_bytes() const;                                     // from the first byte of a value to the last one
  bool is_contiguous() const;
  Tensor contiguous() const;
};

int64_t bytes_per_value(int32_t type);

using List = std::vector<StableIValue>;
using Operator = void (*)(StableIValue* stack, uint64_t inputs, uint64_t outputs);

// Operators and schemas in the order of their registration.
struct Registry {
  std::vector<std::pair<std::string, std::string>> definitions;  // namespace and schema
  std::map<std::string, Operator> operators;                     // by "namespace::name"
};

Registry& registry();

// Thrown where a kernel calls an operator that only Python has. The other process then computes it there.
struct CallsPython : std::runtime_error {
  using runtime_error::runtime_error;
};

extern uint32_t thread_count;  // threads of a parallel region

template <typename T>
StableIValue as_value(T native) {
  StableIValue value = 0;
  static_assert(sizeof native <= sizeof value);
  std::memcpy(&value, &native, sizeof native);
  return value;
}

template <typename T>
T from_value(StableIValue value) {
  T native;
  std::memcpy(&native, &value, sizeof native);
  return native;
}

inline Tensor& tensor_of(AtenTensorHandle handle) { return *reinterpret_cast<Tensor*>(handle); }
inline Tensor& tensor_of(StableIValue value) { return tensor_of(from_value<AtenTensorHandle>(value)); }
inline AtenTensorHandle handle_of(Tensor tensor) {
  return reinterpret_cast<AtenTensorHandle>(new Tensor(std::move(tensor)));
}

}  // namespace shim
