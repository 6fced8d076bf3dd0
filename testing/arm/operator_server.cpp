// Runs operators for another process: reads calls from the standard input, and writes results to the standard output.
// `emulated_operators.py` is the other side. Numbers have the processor's byte order.

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "pytorch_shim.h"

using namespace shim;

namespace {

// One call's arguments on the stack, and the tensors that the operator may change.
struct Call {
  std::string name;
  std::string results;  // a letter per result: t for a tensor, i for an integer
  std::vector<StableIValue> stack;
  std::vector<Tensor> changed;
};

void read_bytes(void* to, size_t bytes) {
  if (bytes > 0 && std::fread(to, 1, bytes, stdin) != bytes) std::exit(0);  // the other process has ended
}

void write_bytes(const void* from, size_t bytes) { std::fwrite(from, 1, bytes, stdout); }

template <typename T>
T read() {
  T value;
  read_bytes(&value, sizeof value);
  return value;
}

template <typename T>
void write(T value) {
  write_bytes(&value, sizeof value);
}

std::string read_text() {
  std::string text(read<uint32_t>(), '\0');
  read_bytes(text.data(), text.size());
  return text;
}

void write_text(const std::string& text) {
  write(static_cast<uint32_t>(text.size()));
  write_bytes(text.data(), text.size());
}

Tensor read_tensor() {
  const auto type = read<int32_t>();
  const auto axes = read<uint32_t>();
  std::vector<int64_t> sizes(axes), strides(axes);
  read_bytes(sizes.data(), axes * sizeof(int64_t));
  read_bytes(strides.data(), axes * sizeof(int64_t));
  const auto bytes = read<int64_t>();
  Tensor tensor = Tensor::empty(type, {bytes / bytes_per_value(type)});
  read_bytes(tensor.data, bytes);
  tensor.sizes = std::move(sizes);
  tensor.strides = std::move(strides);
  return tensor;
}

void write_tensor(const Tensor& tensor) {
  write(tensor.type);
  write(static_cast<uint32_t>(tensor.sizes.size()));
  write_bytes(tensor.sizes.data(), tensor.sizes.size() * sizeof(int64_t));
  write_bytes(tensor.strides.data(), tensor.strides.size() * sizeof(int64_t));
  write(tensor.span_bytes());
  write_bytes(tensor.data, tensor.span_bytes());
}

StableIValue read_argument(Call& call) {
  const auto kind = read<char>();
  const bool changes = read<char>() != 0;
  switch (kind) {
    case 'i': return as_value(read<int64_t>());
    case 'f': return as_value(read<double>());
    case 't': {
      Tensor tensor = read_tensor();
      if (changes) call.changed.push_back(tensor);
      return as_value(handle_of(std::move(tensor)));
    }
    default: {
      auto items = std::make_unique<List>();
      for (auto left = read<uint32_t>(); left > 0; --left) {
        Tensor tensor = read_tensor();
        if (changes) call.changed.push_back(tensor);
        items->push_back(as_value(handle_of(std::move(tensor))));
      }
      return as_value(items.release());
    }
  }
}

Call read_call() {
  Call call{.name = read_text(), .results = read_text()};
  thread_count = read<uint32_t>();
  for (auto left = read<uint32_t>(); left > 0; --left) call.stack.push_back(read_argument(call));
  return call;
}

void answer(Call& call) {
  const size_t arguments = call.stack.size();
  call.stack.resize(std::max(arguments, call.results.size()));
  registry().operators.at(call.name)(call.stack.data(), arguments, call.results.size());
  write('r');
  for (const Tensor& tensor : call.changed) write_tensor(tensor);
  for (size_t i = 0; i < call.results.size(); ++i) {
    if (call.results[i] == 'i') {
      write(from_value<int64_t>(call.stack[i]));
    } else {
      const std::unique_ptr<Tensor> result(&tensor_of(call.stack[i]));
      write_tensor(*result);
    }
  }
}

}  // namespace

int main() {
  write(static_cast<uint32_t>(registry().definitions.size()));
  for (const auto& [library, schema] : registry().definitions) {
    write_text(library);
    write_text(schema);
  }
  write(static_cast<uint32_t>(registry().operators.size()));
  for (const auto& [name, function] : registry().operators) write_text(name);
  for (;;) {
    std::fflush(stdout);
    Call call = read_call();
    try {
      answer(call);
    } catch (const CallsPython& called) {
      write('p');
      write_text(called.what());
    } catch (const std::exception& error) {
      write('e');
      write_text(error.what());
    }
  }
}
