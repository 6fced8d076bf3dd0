// Products are bound by arithmetic and attention by memory: one after the other, each leaves the other's means idle. So a decode
// step of many sequences goes through the layers in two halves, one of which attends beside the products of the other
// (beside.h). (Zhu et al., arXiv 2408.12757, overlap parts of a batch on a GPU.)

#include "layer_steps.h"

#if QWEN_BATCH_HAS_AVX512_BF16

namespace qwen_batch {
namespace {

constexpr int64_t ROWS_A_THREAD = 20;  // from here on half of them keep a thread multiplying longer than it reads the weights

// Linux finds and clears memory for a page of the cache when it is first written, which takes milliseconds where a virtual machine
// has to ask its host for it. Left to the rows it would be one thread that waits, since those that one step writes lie side by side in a
// huge page. So each thread first writes to where pages begin in this step, in its share of the caches. Layers come after a wait.
void begin_pages(const Member& member, const Model& model, const LayerRows& rows) {
  const LayerSizes& sizes = model.sizes;
  const int64_t caches = 2 * model.num_layers();
  for (int64_t i = 0; i < rows.count; ++i) {
    if (rows.slots[i] % sizes.page_size != 0) continue;
    for (int64_t cache = member.begin(caches); cache < member.end(caches); ++cache) {
      uint16_t* pages = cache % 2 == 0 ? model.k_caches[cache / 2] : model.v_caches[cache / 2];
      *static_cast<volatile uint16_t*>(pages + rows.slots[i] * sizes.kv_heads * sizes.dim) = 0;
    }
  }
}

// Rows from the attention of layer `attended`, or from the beginning if that is -1, to the next one, or to the end.
void advance(const Member& member, const Model& model, const LayerRows& rows, int64_t attended, Beside* beside) {
  const int64_t next = attended + 1;
  if (attended >= 0) finish(member, model.layers[attended], model.sizes, rows, beside);
  if (next < model.num_layers()) project(member, model.layers[next], model.sizes, rows, model.k_caches[next], model.v_caches[next], beside);
}

// Of the weights that `advance` multiplies with.
int64_t bytes_to_advance(const Model& model, int64_t attended) {
  int64_t bytes = 0;
  if (attended >= 0) bytes += model.layers[attended].o.bytes + model.layers[attended].gate_up.bytes + model.layers[attended].down.bytes;
  if (attended + 1 < model.num_layers()) bytes += model.layers[attended + 1].qkv.bytes;
  return bytes;
}

// A step with one layer's caches.
template <typename Step>
Step at_layer(Step step, const Model& model, int64_t layer) {
  step.keys = model.k_caches[layer];
  step.values = model.v_caches[layer];
  return step;
}

// A decode step's rows with their sequences.
class DecodeRows {
 public:
  DecodeRows(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& step, int64_t begin, int64_t count)
      : model_(model), rows_(rows.part(begin, count, model.sizes)), step_(step) {
    step_.sequences = count;
    step_.context += begin;
    step_.pages += begin * step.width;
    step_.queries = rows_.queries;
    step_.out = rows_.narrow;
    borders_ = step_.borders(torch::stable::get_num_threads());
  }

  const LayerRows& rows() const { return rows_; }

  void attend(const Member& member, int64_t layer) const {
    for (AttentionShare<uint16_t> share(at_layer(step_, model_, layer), borders_[member.first], borders_[member.last]); !share.done();) share.block();
  }

  // The member's share, to be done while all multiply with `bytes` of weights.
  Beside attention(const Member& member, int64_t layer, int64_t bytes) const {
    return {at_layer(step_, model_, layer), borders_[member.first], borders_[member.last], bytes * (member.last - member.first) / member.team.parts()};
  }

 private:
  const Model& model_;
  const LayerRows rows_;
  DecodeStep<uint16_t> step_;
  std::vector<int64_t> borders_;
};

void run_in_halves(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& step) {
  const int64_t middle = (rows.count + 1) / 2;
  const DecodeRows halves[] = {{model, rows, step, 0, middle}, {model, rows, step, middle, rows.count - middle}};
  as_team([&](const Member& member) {
    begin_pages(member, model, rows);
    advance(member, model, halves[0].rows(), -1, nullptr);
    for (int64_t layer = 0; layer < model.num_layers(); ++layer)
      for (int half = 0; half < 2; ++half) {
        const int64_t attended = half == 0 ? layer - 1 : layer;  // the other half's last
        Beside attention = halves[half].attention(member, layer, bytes_to_advance(model, attended));
        advance(member, model, halves[1 - half].rows(), attended, &attention);
        attention.finish();
        member.wait();
      }
    advance(member, model, halves[1].rows(), model.num_layers() - 1, nullptr);
  });
}

// `attend(member, layer)`: the attention of all rows.
template <typename Attend>
void run_whole(const Model& model, const LayerRows& rows, const Attend& attend) {
  as_team([&](const Member& member) {
    begin_pages(member, model, rows);
    advance(member, model, rows, -1, nullptr);
    for (int64_t layer = 0; layer < model.num_layers(); ++layer) {
      attend(member, layer);
      member.wait();
      advance(member, model, rows, layer, nullptr);
    }
  });
}

// Whether a step's weights are better read twice, so that its attention is done beside products.
bool halves_pay(const Model& model, int64_t rows) {
  return bound_by_arithmetic(model.layers[0].qkv) && rows >= torch::stable::get_num_threads() * ROWS_A_THREAD &&
         attends_by_vectors<uint16_t>(model.sizes.dim, model.sizes.page_size);
}

}  // namespace

void run_decode(const Model& model, const LayerRows& rows, const DecodeStep<uint16_t>& step) {
  if (halves_pay(model, rows.count)) return run_in_halves(model, rows, step);
  const DecodeRows all(model, rows, step, 0, rows.count);
  run_whole(model, rows, [&](const Member& member, int64_t layer) { all.attend(member, layer); });
}

void run_prefill(const Model& model, const LayerRows& rows, PrefillStep step) {
  step.q = rows.queries;
  step.out = rows.narrow;
  PrefillPlan plan(step);
  run_whole(model, rows, [&](const Member& member, int64_t layer) { plan.attend(member, at_layer(step, model, layer)); });
}

}  // namespace qwen_batch

#endif
