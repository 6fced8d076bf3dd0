// The weights of the layers, as Python passes them: one list of tensors for all layers.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "check.h"
#include "layer_steps.h"

namespace qwen_batch {

using Tensors = std::vector<torch::stable::Tensor>;

template <typename T>
T* data_of(const torch::stable::Tensor& tensor) {
  return static_cast<T*>(const_cast<void*>(tensor.const_data_ptr()));
}

// The order of a layer's weights in the list that Python passes. Those of the MLP follow: GATE_UP and DOWN, or with
// experts the router, all experts' GATE_UP, and all experts' DOWN.
struct WeightIndex {
  enum : size_t { INPUT_NORM, QKV, Q_NORM, K_NORM, O, POST_NORM, MLP };
};

// The tensors of one layer.
struct LayerTensors {
  const torch::stable::Tensor* of;
  int64_t experts;  // 0 without experts

  static size_t count(int64_t experts) { return WeightIndex::MLP + (experts == 0 ? 2 : 1 + 2 * experts); }
  const torch::stable::Tensor& operator[](size_t index) const { return of[index]; }
  int64_t mlps() const { return std::max<int64_t>(experts, 1); }
  const torch::stable::Tensor& router() const { return of[WeightIndex::MLP]; }
  const torch::stable::Tensor& gate_up(int64_t mlp) const {
    return of[WeightIndex::MLP + (experts == 0 ? 0 : 1 + mlp)];
  }
  const torch::stable::Tensor& down(int64_t mlp) const {
    return of[WeightIndex::MLP + (experts == 0 ? 1 : 1 + experts + mlp)];
  }
};

inline std::vector<LayerTensors> layers_of(const Tensors& weights, size_t layers, int64_t experts) {
  check(layers > 0 && weights.size() == layers * LayerTensors::count(experts),
        "prepare_layers: every layer has all its weights");
  std::vector<LayerTensors> tensors;
  for (size_t i = 0; i < layers; ++i) tensors.push_back({&weights[i * LayerTensors::count(experts)], experts});
  return tensors;
}

inline void check_norms(const std::vector<LayerTensors>& layers) {
  for (const LayerTensors& layer : layers)
    for (size_t norm : {WeightIndex::INPUT_NORM, WeightIndex::Q_NORM, WeightIndex::K_NORM, WeightIndex::POST_NORM})
      check(layer[norm].scalar_type() == torch::headeronly::ScalarType::BFloat16 && layer[norm].is_contiguous(),
            "prepare_layers: norms must be contiguous bfloat16");
}

inline void check_products(const std::vector<LayerTensors>& layers, const LayerSizes& sizes) {
  for (const LayerTensors& layer : layers) {
    bool fits = PackedWeight::fits(layer[WeightIndex::QKV], sizes.qkv(), sizes.hidden) &&
                PackedWeight::fits(layer[WeightIndex::O], sizes.hidden, sizes.heads * sizes.dim);
    for (int64_t mlp = 0; mlp < layer.mlps(); ++mlp)
      fits = fits && PackedWeight::fits(layer.gate_up(mlp), 2 * sizes.intermediate, sizes.hidden) &&
             PackedWeight::fits(layer.down(mlp), sizes.hidden, sizes.intermediate);
    check(fits, "prepare_layers: a packed weight has another shape");
    if (layer.experts > 0)
      check(is_router(layer.router(), layer.experts, sizes.hidden),
            "prepare_layers: a router must be contiguous float32 [experts, hidden]");
  }
}

inline std::vector<MlpWeights> mlps_of(const LayerTensors& layer, const LayerSizes& sizes) {
  std::vector<MlpWeights> mlps;
  for (int64_t mlp = 0; mlp < layer.mlps(); ++mlp)
    mlps.push_back({
        PackedWeight::of(layer.gate_up(mlp), 2 * sizes.intermediate, sizes.hidden),
        PackedWeight::of(layer.down(mlp), sizes.hidden, sizes.intermediate),
    });
  return mlps;
}

// The weights of each layer. They point into the tensors.
inline std::vector<LayerWeights> weights_of(const std::vector<LayerTensors>& layers, const LayerSizes& sizes) {
  std::vector<LayerWeights> weights;
  for (const LayerTensors& of : layers)
    weights.push_back({
        .input_norm = data_of<uint16_t>(of[WeightIndex::INPUT_NORM]),
        .q_norm = data_of<uint16_t>(of[WeightIndex::Q_NORM]),
        .k_norm = data_of<uint16_t>(of[WeightIndex::K_NORM]),
        .post_norm = data_of<uint16_t>(of[WeightIndex::POST_NORM]),
        .qkv = PackedWeight::of(of[WeightIndex::QKV], sizes.qkv(), sizes.hidden),
        .o = PackedWeight::of(of[WeightIndex::O], sizes.hidden, sizes.heads * sizes.dim),
        .mlps = mlps_of(of, sizes),
        .router = of.experts > 0 ? data_of<float>(of.router()) : nullptr,
    });
  return weights;
}

}  // namespace qwen_batch
