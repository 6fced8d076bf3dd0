// The weights of all layers of a model, checked and read once. A model of experts has thousands of tensors: to pass
// them to each step would take milliseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "layer_tensors.h"

namespace qwen_batch {

struct PreparedLayers {
  Tensors tensors;   // keeps the memory of the weights
  LayerSizes sizes;  // without the page size, which belongs to the cache
  std::vector<LayerWeights> weights;
};

// Returns the layers to which `prepare_layers` gave this handle. Throws if there are none, or none any more.
std::shared_ptr<const PreparedLayers> prepared_layers(int64_t handle);

}  // namespace qwen_batch
