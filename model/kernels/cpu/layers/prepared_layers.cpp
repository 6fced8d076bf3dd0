// The operators that prepare the weights of all layers for the steps, and that forget them.

#include "prepared_layers.h"

#include <torch/csrc/stable/library.h>

#include <map>
#include <mutex>

#include "kernels.h"

namespace qwen_batch {
namespace prepared_layers_detail {
namespace {

// The layers of all models in this process, by their handles.
class Registry {
 public:
  int64_t add(std::shared_ptr<const PreparedLayers> layers) {
    const std::lock_guard lock(mutex_);
    layers_.emplace(++last_, std::move(layers));
    return last_;
  }

  std::shared_ptr<const PreparedLayers> get(int64_t handle) {
    const std::lock_guard lock(mutex_);
    const auto found = layers_.find(handle);
    check(found != layers_.end(), "decoder_layers: these layers are not prepared, or were released");
    return found->second;
  }

  void remove(int64_t handle) {
    const std::lock_guard lock(mutex_);
    layers_.erase(handle);
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<const PreparedLayers>> layers_;
  int64_t last_ = 0;
};

Registry& registry() {
  static Registry layers;
  return layers;
}

// Returns whether layers of these sizes can run here. The caller must also ensure two conditions: the weights are
// packed for these kernels, and the page size is a multiple of BLOCK.
bool layers_available(int64_t hidden_size, int64_t intermediate_size, int64_t dim) {
  return hidden_size % LANES == 0 && intermediate_size % LANES == 0 && dim % (2 * LANES) == 0 &&
         prefill_attention_available(dim, BLOCK) && attention_is_enabled();
}

// Returns a handle for `decoder_layers`. `weights`: those of all layers, in the order of WeightIndex. `experts`: their
// number in each layer, or 0. The weights live until `release_layers`.
int64_t prepare_layers(Tensors weights, int64_t layers, int64_t hidden, int64_t heads, int64_t kv_heads, int64_t dim,
                       int64_t intermediate_size, int64_t experts, int64_t experts_per_token, bool normalise_experts,
                       double eps) {
  check(0 <= experts_per_token && experts_per_token <= experts && (experts == 0 || experts_per_token > 0),
        "prepare_layers: a token has 1 to all experts");
  check(layers_available(hidden, intermediate_size, dim), "prepare_layers: this build does not support such sizes");
  auto prepared = std::make_shared<PreparedLayers>();
  prepared->tensors = std::move(weights);
  prepared->sizes = {
      .hidden = hidden,
      .heads = heads,
      .kv_heads = kv_heads,
      .dim = dim,
      .intermediate = intermediate_size,
      .page_size = 0,
      .eps = static_cast<float>(eps),
      .experts = experts,
      .experts_per_row = experts_per_token,
      .normalise_experts = normalise_experts,
  };
  const std::vector<LayerTensors> tensors = layers_of(prepared->tensors, static_cast<size_t>(layers), experts);
  check_norms(tensors);
  check_products(tensors, prepared->sizes);
  prepared->weights = weights_of(tensors, prepared->sizes);
  return registry().add(std::move(prepared));
}

void release_layers(int64_t handle) { registry().remove(handle); }

}  // namespace
}  // namespace prepared_layers_detail

std::shared_ptr<const PreparedLayers> prepared_layers(int64_t handle) {
  return prepared_layers_detail::registry().get(handle);
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("layers_available(int hidden_size, int intermediate_size, int dim) -> bool");
  m.def(
      "prepare_layers(Tensor[] weights, int layers, int hidden_size, int heads, int kv_heads, int dim, int "
      "intermediate_size, int experts, int experts_per_token, bool normalise_experts, float eps) -> int");
  m.def("release_layers(int handle) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("layers_available", TORCH_BOX(&qwen_batch::prepared_layers_detail::layers_available));
  m.impl("prepare_layers", TORCH_BOX(&qwen_batch::prepared_layers_detail::prepare_layers));
  m.impl("release_layers", TORCH_BOX(&qwen_batch::prepared_layers_detail::release_layers));
}
