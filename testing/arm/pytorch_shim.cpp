// PyTorch's stable C interface, as far as the kernels call it (pytorch_shim.h).

#include "pytorch_shim.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <thread>

namespace shim {

uint32_t thread_count = 1;

Registry& registry() {
  static Registry one;
  return one;
}

int64_t bytes_per_value(int32_t type) {
  static const std::map<int32_t, int64_t> BYTES{{0, 1}, {1, 1},  {2, 2},  {3, 4},  {4, 8},  {5, 2}, {6, 4},
                                                {7, 8}, {11, 1}, {15, 2}, {27, 2}, {28, 4}, {29, 8}};
  return BYTES.at(type);
}

Tensor Tensor::empty(int32_t type, std::vector<int64_t> sizes) {
  constexpr size_t LINE = 64;  // bytes; PyTorch aligns tensors to as many
  Tensor made{.type = type, .sizes = std::move(sizes)};
  made.strides.assign(made.sizes.size(), 1);
  for (size_t axis = made.sizes.size(); axis-- > 1;)
    made.strides[axis - 1] = made.strides[axis] * std::max<int64_t>(1, made.sizes[axis]);
  const size_t bytes = made.values() * bytes_per_value(type);
  made.memory = std::shared_ptr<void>(std::aligned_alloc(LINE, (bytes / LINE + 1) * LINE), std::free);
  made.data = static_cast<char*>(made.memory.get());
  return made;
}

int64_t Tensor::values() const {
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  return product;
}

int64_t Tensor::span_bytes() const {
  if (values() == 0) return 0;
  int64_t last = 0;
  for (size_t axis = 0; axis < sizes.size(); ++axis) last += (sizes[axis] - 1) * strides[axis];
  return (last + 1) * bytes_per_value(type);
}

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (size_t axis = sizes.size(); axis-- > 0; expected *= sizes[axis])
    if (sizes[axis] != 1 && strides[axis] != expected && values() > 0) return false;
  return true;
}

Tensor Tensor::contiguous() const {
  if (is_contiguous()) return *this;
  Tensor copy = empty(type, sizes);
  const int64_t bytes = bytes_per_value(type);
  for (int64_t i = 0; i < values(); ++i) {
    int64_t rest = i, from = 0;
    for (size_t axis = sizes.size(); axis-- > 0; rest /= sizes[axis]) from += rest % sizes[axis] * strides[axis];
    std::memcpy(copy.data + i * bytes, data + from * bytes, bytes);
  }
  return copy;
}

namespace {

constexpr AOTITorchError OK = 0;

struct Library {
  std::string name;  // namespace of its operators
};

AOTITorchError new_library(const char* name, TorchLibraryHandle* made) {
  *made = reinterpret_cast<TorchLibraryHandle>(new Library{name});
  return OK;
}

List& list_of(StableListHandle handle) { return *reinterpret_cast<List*>(handle); }

// Takes an optional value from the stack, as PyTorch's headers put it there.
template <typename T>
T value_or(StableIValue optional, T otherwise) {
  const std::unique_ptr<StableIValue> value(from_value<StableIValue*>(optional));
  return value == nullptr ? otherwise : from_value<T>(*value);
}

Tensor take_tensor(StableIValue value) {
  const std::unique_ptr<Tensor> taken(&tensor_of(value));
  return *taken;
}

}  // namespace
}  // namespace shim

using namespace shim;

extern "C" {

// Registration

AOTITorchError aoti_torch_library_init_def(const char* ns, const char*, uint32_t, TorchLibraryHandle* made) {
  return new_library(ns, made);
}
AOTITorchError aoti_torch_library_init_fragment(const char* ns, const char*, uint32_t, TorchLibraryHandle* made) {
  return new_library(ns, made);
}
AOTITorchError aoti_torch_library_init_impl(const char* ns, const char*, const char*, uint32_t,
                                            TorchLibraryHandle* made) {
  return new_library(ns, made);
}
AOTITorchError aoti_torch_delete_library_object(TorchLibraryHandle library) {
  delete reinterpret_cast<Library*>(library);
  return OK;
}
AOTITorchError aoti_torch_library_def(TorchLibraryHandle library, const char* schema) {
  registry().definitions.emplace_back(reinterpret_cast<Library*>(library)->name, schema);
  return OK;
}
AOTITorchError torch_library_impl(TorchLibraryHandle library, const char* name, Operator function, uint64_t) {
  registry().operators[reinterpret_cast<Library*>(library)->name + "::" + name] = function;
  return OK;
}

// Tensors

AOTITorchError aoti_torch_new_uninitialized_tensor(AtenTensorHandle* made) {
  *made = handle_of({});
  return OK;
}
AOTITorchError aoti_torch_new_tensor_handle(AtenTensorHandle tensor, AtenTensorHandle* made) {
  *made = handle_of(tensor_of(tensor));
  return OK;
}
AOTITorchError aoti_torch_delete_tensor_object(AtenTensorHandle tensor) {
  delete &tensor_of(tensor);
  return OK;
}
AOTITorchError aoti_torch_get_dim(AtenTensorHandle tensor, int64_t* dim) {
  *dim = static_cast<int64_t>(tensor_of(tensor).sizes.size());
  return OK;
}
AOTITorchError aoti_torch_get_dtype(AtenTensorHandle tensor, int32_t* dtype) {
  *dtype = tensor_of(tensor).type;
  return OK;
}
AOTITorchError aoti_torch_get_numel(AtenTensorHandle tensor, int64_t* values) {
  *values = tensor_of(tensor).values();
  return OK;
}
AOTITorchError aoti_torch_get_size(AtenTensorHandle tensor, int64_t axis, int64_t* size) {
  const auto& sizes = tensor_of(tensor).sizes;
  *size = sizes.at(axis < 0 ? axis + sizes.size() : axis);
  return OK;
}
AOTITorchError aoti_torch_get_sizes(AtenTensorHandle tensor, int64_t** sizes) {
  *sizes = tensor_of(tensor).sizes.data();
  return OK;
}
AOTITorchError aoti_torch_get_stride(AtenTensorHandle tensor, int64_t axis, int64_t* stride) {
  const auto& strides = tensor_of(tensor).strides;
  *stride = strides.at(axis < 0 ? axis + strides.size() : axis);
  return OK;
}
AOTITorchError aoti_torch_is_contiguous(AtenTensorHandle tensor, bool* contiguous) {
  *contiguous = tensor_of(tensor).is_contiguous();
  return OK;
}
AOTITorchError torch_get_mutable_data_ptr(AtenTensorHandle tensor, void** data) {
  *data = tensor_of(tensor).data;
  return OK;
}
AOTITorchError torch_get_const_data_ptr(AtenTensorHandle tensor, const void** data) {
  *data = tensor_of(tensor).data;
  return OK;
}
AOTITorchError torch_from_blob(void* data, int64_t ndim, const int64_t* sizes, const int64_t* strides, int64_t offset,
                               int32_t dtype, int32_t, int32_t, AtenTensorHandle* made, int32_t, const uint8_t*,
                               int64_t, void (*deleter)(void*, void*), void* context) {
  Tensor tensor{.data = static_cast<char*>(data) + offset * bytes_per_value(dtype),
                .type = dtype,
                .sizes{sizes, sizes + ndim},
                .strides{strides, strides + ndim}};
  tensor.memory = std::shared_ptr<void>(data, [=](void* memory) { deleter(memory, context); });
  *made = handle_of(std::move(tensor));
  return OK;
}

// Lists

AOTITorchError torch_new_list_reserve_size(size_t size, StableListHandle* made) {
  auto list = std::make_unique<List>();
  list->reserve(size);
  *made = reinterpret_cast<StableListHandle>(list.release());
  return OK;
}
AOTITorchError torch_list_size(StableListHandle list, size_t* size) {
  *size = list_of(list).size();
  return OK;
}
AOTITorchError torch_list_get_item(StableListHandle list, size_t index, StableIValue* item) {
  *item = list_of(list).at(index);
  return OK;
}
AOTITorchError torch_list_push_back(StableListHandle list, StableIValue item) {
  list_of(list).push_back(item);
  return OK;
}
AOTITorchError torch_delete_list(StableListHandle list) {
  delete &list_of(list);
  return OK;
}

// Threads

AOTITorchError torch_get_num_threads(uint32_t* count) {
  *count = thread_count;
  return OK;
}
AOTITorchError torch_parallel_for(int64_t begin, int64_t end, int64_t grain, ParallelFunc work, void* context) {
  const int64_t items = end - begin, unit = std::max<int64_t>(1, grain);
  const int64_t shares = std::min<int64_t>(thread_count, (items + unit - 1) / unit);
  std::vector<std::exception_ptr> failures(shares);
  std::vector<std::thread> threads;
  const auto share = [&](int64_t number) {
    try {
      work(begin + items * number / shares, begin + items * (number + 1) / shares, context);
    } catch (...) {
      failures[number] = std::current_exception();
    }
  };
  for (int64_t number = 1; number < shares; ++number) threads.emplace_back(share, number);
  if (shares > 0) share(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return OK;
}

// Operators that the kernels call. The stack owns its arguments.
AOTITorchError torch_call_dispatcher(const char* name, const char*, StableIValue* stack, uint64_t) {
  const std::string called = name;
  if (called == "aten::empty") {
    const std::unique_ptr<List> items(from_value<List*>(stack[0]));
    std::vector<int64_t> sizes;
    for (const StableIValue item : *items) sizes.push_back(from_value<int64_t>(item));
    const int32_t type = value_or<int32_t>(stack[1], aoti_torch_dtype_float32());
    for (int i = 2; i < 6; ++i) value_or<StableIValue>(stack[i], 0);
    stack[0] = as_value(handle_of(Tensor::empty(type, std::move(sizes))));
  } else if (called == "aten::empty_like") {
    const Tensor like = take_tensor(stack[0]);
    stack[0] = as_value(handle_of(Tensor::empty(like.type, like.sizes)));
  } else if (called == "aten::contiguous") {
    stack[0] = as_value(handle_of(take_tensor(stack[0]).contiguous()));
  } else {
    throw CallsPython(called);
  }
  return OK;
}

}  // extern "C"
