// Matrix products are compute-bound, decode attention is memory-bound. Run one after the other, each leaves the other's
// resource idle. A step in which many sequences decode therefore goes through the layers in two halves: the attention
// of one half overlaps the products of the other half (overlap.h). Prompts are in the second half. (Zhu et al., arXiv
// 2408.12757, overlap parts of a batch on a GPU.)

#include "layer_steps.h"

#include <algorithm>

#include "row_group.h"

namespace qwen_batch {
namespace layer_steps_detail {
namespace {

constexpr int64_t ROWS_PER_THREAD = 20;  // half of them take longer to multiply than the weights take to read

// Writes to each page of the cache that begins in this step, before the layers do. Linux allocates and clears memory
// for a page at its first write, which takes milliseconds if a virtual machine must ask its host for it. If the layers
// wrote first, one thread would wait for all of it: a step's rows lie side by side in a huge page. Here each thread
// does its share of the caches. A wait precedes the layers' writes.
void touch_new_pages(const Member& member, const Model& model, const LayerRows& rows) {
  const CachePages pages = model.sizes.cache_pages();
  const int64_t layers = model.num_layers();
  for (int64_t i = 0; i < rows.count; ++i) {
    if (rows.slots[i] % pages.page_size != 0) continue;
    for (int64_t layer = member.begin(layers); layer < member.end(layers); ++layer)
      for (int64_t half : {int64_t{0}, pages.values()})
        *static_cast<volatile uint16_t*>(model.caches[layer] + pages.key_at(rows.slots[i], 0) + half) = 0;
  }
}

// Takes the rows from the attention of layer `attended` to the attention of the next layer. -1 means: from the start.
// After the last layer, it takes them to the end.
void advance(const Member& member, const Model& model, const LayerRows& rows, int64_t attended, Overlap* overlap) {
  const int64_t next = attended + 1;
  if (attended >= 0) finish(member, model.layers[attended], model.sizes, rows, overlap);
  if (next < model.num_layers()) project(member, model.layers[next], model.sizes, rows, model.caches[next], overlap);
}

// Returns the bytes of weights that `advance` multiplies with.
int64_t bytes_to_advance(const Model& model, int64_t attended) {
  int64_t bytes = 0;
  if (attended >= 0) {
    const LayerWeights& layer = model.layers[attended];
    bytes += layer.o.bytes + layer.mlps[0].gate_up.bytes + layer.mlps[0].down.bytes;
  }
  if (attended + 1 < model.num_layers()) bytes += model.layers[attended + 1].qkv.bytes;
  return bytes;
}

// `middle`: number of rows in the first half; all of them decode.
void run_in_halves(const Model& model, const StepRows& step, int64_t middle) {
  const RowGroup first(model, step.first(middle, model.sizes)), second(model, step.from(middle, model.sizes));
  as_team([&](const Member& member) {
    const RowGroup* halves[] = {&first, &second};
    touch_new_pages(member, model, step.rows);
    advance(member, model, first.rows(), -1, nullptr);
    for (int64_t layer = 0; layer < model.num_layers(); ++layer)
      for (int half = 0; half < 2; ++half) {
        const int64_t attended = half == 0 ? layer - 1 : layer;  // the layer that the other half attended in last
        halves[half] = &halves[half]->to_attend(member, layer);
        Overlap attention = halves[half]->decoding(member, layer, bytes_to_advance(model, attended));
        advance(member, model, halves[1 - half]->rows(), attended, &attention);
        attention.finish();
        halves[half]->attend_to_prompts(member, layer);
        member.wait();
      }
    advance(member, model, halves[1]->rows(), model.num_layers() - 1, nullptr);
  });
}

void run_at_once(const Model& model, const StepRows& step) {
  const RowGroup all(model, step);
  as_team([&](const Member& member) {
    touch_new_pages(member, model, step.rows);
    advance(member, model, all.rows(), -1, nullptr);
    for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
      const RowGroup& group = all.to_attend(member, layer);
      group.attend(member, layer);
      member.wait();
      advance(member, model, group.rows(), layer, nullptr);
    }
  });
}

// Returns whether halves are faster, although they read the step's weights twice. They are if both halves take longer
// to multiply than to read the weights, so that attention can overlap the products. Experts take longer to read.
bool halves_are_faster(const Model& model, int64_t rows_of_the_smaller) {
  return model.sizes.experts == 0 && 2 * rows_of_the_smaller >= torch::stable::get_num_threads() * ROWS_PER_THREAD &&
         is_compute_bound(model.layers[0].qkv) && attends_by_vectors<uint16_t>(model.sizes.dim, model.sizes.page_size);
}

}  // namespace
}  // namespace layer_steps_detail

void run_step(const Model& model, const StepRows& step) {
  using namespace layer_steps_detail;
  const int64_t middle = std::min(step.decode.sequences, (step.rows.count + 1) / 2);
  if (halves_are_faster(model, std::min(middle, step.rows.count - middle))) return run_in_halves(model, step, middle);
  run_at_once(model, step);
}

}  // namespace qwen_batch
