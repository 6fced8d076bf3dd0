// Attention of one new token a sequence over its pages: softmax(q k^T * scale) v, one pass, online softmax.
//
// Reads valid tokens only. Pages are blocks at absolute positions, and a sequence's heads are worked on by one thread
// from the first page to the last, so its bits depend on no neighbour, thread count or padding.
// Online softmax: Milakov and Gimelshein, arXiv 1805.02867; paged: Kwon et al., arXiv 2309.06180.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels.h"
#include "plain_attention.h"


using torch::headeronly::ScalarType;
using torch::stable::Tensor;

namespace qwen_batch {
namespace {

constexpr int MAX_GROUP = 4;       // query heads worked on together; larger groups take several rounds
#if QWEN_BATCH_HAS_AVX512_BF16

// To the second-level cache: keys and values of two hyperthreads do not fit into the first one.
inline void prefetch(const uint16_t* row, int64_t dim) {
  for (int64_t d = 0; d < dim; d += 32) _mm_prefetch(reinterpret_cast<const char*>(row + d), _MM_HINT_T1);
}

// Rows that will be read soon.
struct Ahead {
  const uint16_t* rows;
  int64_t count;
};

template <int DIM, int GROUP>
class Attention {
 public:
  Attention(const Item& item, const uint16_t* q) : item_(item) {
    for (int g = 0; g < GROUP; ++g) {
      for (int c = 0; c < CHUNKS; ++c) query_[g][c] = (__m512bh)_mm512_loadu_si512(q + g * DIM + c * 32);
      for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = _mm512_setzero_ps();
      highest_[g] = LOWEST;
      sum_[g] = 0;
    }
  }

  // Memory never waits for arithmetic: values are fetched while keys are worked on, the next keys while values are.
  void run(const uint16_t* keys, const uint16_t* values, uint16_t* out) {
    const Ahead next{static_cast<const uint16_t*>(item_.next_keys), item_.next_context};
    for (int64_t first = 0; first < item_.context; first += BLOCK) {
      const int64_t at = place(first), left = item_.context - first;
      const int count = static_cast<int>(std::min<int64_t>(BLOCK, left));
      score(keys + at, values + at, count);
      soften(count);
      accumulate(values + at, count, left > BLOCK ? Ahead{keys + place(first + BLOCK), left - BLOCK} : next);
    }
    store(out);
  }

 private:
  static constexpr int CHUNKS = DIM / 32;  // registers of 32 bfloat16 values a row
  static constexpr int BLOCK = 64;         // tokens a round; pages are multiples of it

  // Where a position's key lies among the keys, and its value among the values.
  int64_t place(int64_t position) const {
    return item_.pages[position / item_.page_size] * item_.page_stride + position % item_.page_size * DIM;
  }

  void score(const uint16_t* keys, const uint16_t* values, int count) {
    for (int t = 0; t < count; t += 16) {
      __m512 dots[GROUP][16];
      for (int j = 0; j < 16; ++j) {
        const uint16_t* key = keys + std::min(t + j, count - 1) * DIM;  // beyond the last: any valid row, masked later
        for (int g = 0; g < GROUP; ++g) dots[g][j] = _mm512_setzero_ps();
        for (int c = 0; c < CHUNKS; ++c) {
          const __m512bh part = (__m512bh)_mm512_loadu_si512(key + c * 32);
          for (int g = 0; g < GROUP; ++g) dots[g][j] = _mm512_dpbf16_ps(dots[g][j], query_[g][c], part);
        }
        if (t + j < count) prefetch(values + (t + j) * DIM, DIM);
      }
      for (int g = 0; g < GROUP; ++g) _mm512_store_ps(&score_[g][t], sums_of_16(dots[g]));
    }
  }

  void soften(int count) {
    for (int g = 0; g < GROUP; ++g) {
      __m512 scores[BLOCK / 16];
      __m512 most = _mm512_set1_ps(highest_[g]);
      for (int t = 0; t < count; t += 16) {
        const __mmask16 valid = count - t >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - t)) - 1);
        const __m512 lowest = _mm512_set1_ps(LOWEST);
        scores[t / 16] = _mm512_mask_mul_ps(lowest, valid, _mm512_load_ps(&score_[g][t]), _mm512_set1_ps(item_.scale));
        most = _mm512_max_ps(most, scores[t / 16]);
      }
      const float highest = _mm512_reduce_max_ps(most);
      const float shrink = std::exp(highest_[g] - highest);
      __m512 sum = _mm512_setzero_ps();
      for (int t = 0; t < count; t += 16) {
        const __mmask16 valid = count - t >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - t)) - 1);
        const __m512 below = _mm512_sub_ps(scores[t / 16], _mm512_set1_ps(highest));
        const __m512 weight = _mm512_maskz_mov_ps(valid, exp_of_negative(below));
        sum = _mm512_add_ps(sum, weight);
        _mm256_store_si256((__m256i*)&weight_[g][t], (__m256i)_mm512_cvtneps_pbh(weight));
      }
      highest_[g] = highest;
      sum_[g] = sum_[g] * shrink + _mm512_reduce_add_ps(sum);
      if (shrink != 1.0f)
        for (int c = 0; c < 2 * CHUNKS; ++c) sum_v_[g][c] = _mm512_mul_ps(sum_v_[g][c], _mm512_set1_ps(shrink));
    }
  }

  // Two value rows a step: their interleaved halves against the pair of weights.
  void accumulate(const uint16_t* values, int count, Ahead next) {
    const int64_t rows = std::min<int64_t>(BLOCK, next.count), rows_a_step = 2 * ((rows + count - 1) / count);
    for (int t = 0; t < count; t += 2) {
      const uint16_t* row = values + t * DIM;
      const int64_t fetched = t / 2 * rows_a_step;
      for (int64_t ahead = fetched; ahead < std::min(fetched + rows_a_step, rows); ++ahead) prefetch(next.rows + ahead * DIM, DIM);
      __m512bh weights[GROUP];
      for (int g = 0; g < GROUP; ++g) {
        int32_t pair;
        std::memcpy(&pair, &weight_[g][t], sizeof pair);
        weights[g] = (__m512bh)_mm512_set1_epi32(pair);
      }
      for (int c = 0; c < CHUNKS; ++c) {
        const __m512i even = _mm512_loadu_si512(row + c * 32);
        const __m512i odd = t + 1 < count ? _mm512_loadu_si512(row + DIM + c * 32) : _mm512_setzero_si512();
        const __m512bh low = (__m512bh)_mm512_unpacklo_epi16(even, odd);
        const __m512bh high = (__m512bh)_mm512_unpackhi_epi16(even, odd);
        for (int g = 0; g < GROUP; ++g) {
          sum_v_[g][2 * c] = _mm512_dpbf16_ps(sum_v_[g][2 * c], weights[g], low);
          sum_v_[g][2 * c + 1] = _mm512_dpbf16_ps(sum_v_[g][2 * c + 1], weights[g], high);
        }
      }
    }
  }

  // Undo the interleaving: a quarter of `low` holds values 0 to 3 of its eight, the same quarter of `high` 4 to 7.
  void store(uint16_t* out) const {
    for (int g = 0; g < GROUP; ++g) {
      const __m512 inverse = _mm512_set1_ps(1.0f / sum_[g]);
      for (int c = 0; c < CHUNKS; ++c) {
        const __m256i low = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(sum_v_[g][2 * c], inverse));
        const __m256i high = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(sum_v_[g][2 * c + 1], inverse));
        const __m256i first = _mm256_unpacklo_epi64(low, high), second = _mm256_unpackhi_epi64(low, high);
        uint16_t* to = out + g * DIM + c * 32;
        _mm_storeu_si128((__m128i*)to, _mm256_castsi256_si128(first));
        _mm_storeu_si128((__m128i*)(to + 8), _mm256_castsi256_si128(second));
        _mm_storeu_si128((__m128i*)(to + 16), _mm256_extracti128_si256(first, 1));
        _mm_storeu_si128((__m128i*)(to + 24), _mm256_extracti128_si256(second, 1));
      }
    }
  }

  const Item item_;
  __m512bh query_[GROUP][CHUNKS];
  __m512 sum_v_[GROUP][2 * CHUNKS];
  float highest_[GROUP], sum_[GROUP];
  alignas(64) float score_[GROUP][BLOCK];
  alignas(64) uint16_t weight_[GROUP][BLOCK];
};

using Kernel = void (*)(const Item&, const uint16_t*, const uint16_t*, const uint16_t*, uint16_t*);

template <int DIM, int GROUP>
void attend(const Item& item, const uint16_t* q, const uint16_t* keys, const uint16_t* values, uint16_t* out) {
  Attention<DIM, GROUP>(item, q).run(keys, values, out);
}

template <int DIM>
Kernel kernel_of(int64_t group) {
  constexpr Kernel kernels[MAX_GROUP] = {attend<DIM, 1>, attend<DIM, 2>, attend<DIM, 3>, attend<DIM, 4>};
  return kernels[group - 1];
}

// The kernel for `group` heads of `dim`, or nullptr where only the plain code fits.
Kernel kernel_for(int64_t dim, int64_t group) {
  switch (dim) {
    case 32: return kernel_of<32>(group);
    case 64: return kernel_of<64>(group);
    case 128: return kernel_of<128>(group);
    default: return nullptr;
  }
}

#endif

// All query heads of one (sequence, kv head).
template <typename T>
void attend_group(const Item& item, const T* q, const T* keys, const T* values, T* out, int64_t group, int64_t dim) {
#if QWEN_BATCH_HAS_AVX512_BF16
  if constexpr (std::is_same_v<T, uint16_t>) {
    if (item.page_size % 64 == 0 && kernel_for(dim, 1) != nullptr) {
      for (int64_t g = 0; g < group; g += MAX_GROUP)
        kernel_for(dim, std::min<int64_t>(MAX_GROUP, group - g))(item, q + g * dim, keys, values, out + g * dim);
      return;
    }
  }
#endif
  for (int64_t g = 0; g < group; ++g) attend_plain(item, q + g * dim, keys, values, out + g * dim, dim);
}

// Borders that split the items (sequence-major, `heads` a sequence) into parts of about equal numbers of tokens.
std::vector<int64_t> balanced_parts(const int32_t* context, int64_t sequences, int64_t heads, int64_t parts) {
  int64_t total = 0;
  for (int64_t s = 0; s < sequences; ++s) total += context[s] * heads;
  std::vector<int64_t> borders{0};
  int64_t item = 0, seen = 0;
  for (int64_t part = 1; part < parts; ++part) {
    while (item < sequences * heads && seen + context[item / heads] / 2 < total * part / parts) seen += context[item++ / heads];
    borders.push_back(item);
  }
  borders.push_back(sequences * heads);
  return borders;
}

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

template <typename T>
void run(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lens, const Tensor& tables, float scale, Tensor& out) {
  const int64_t sequences = lens.size(0), query_heads = q.size(1), dim = q.size(2);
  const int64_t heads = k.size(1), page_size = k.size(2), group = query_heads / heads, width = tables.size(1);
  const auto* context = static_cast<const int32_t*>(lens.const_data_ptr());
  const auto* pages = static_cast<const int32_t*>(tables.const_data_ptr());
  const auto* queries = static_cast<const T*>(q.const_data_ptr());
  const auto* keys = static_cast<const T*>(k.const_data_ptr());
  const auto* values = static_cast<const T*>(v.const_data_ptr());
  auto* result = static_cast<T*>(out.mutable_data_ptr());
  for (int64_t s = 0; s < sequences; ++s)
    check(context[s] >= 1 && context[s] <= width * page_size, "decode_attention: a context length is outside its pages");
  for (int64_t i = 0; i < sequences * width; ++i)
    check(pages[i] >= 0 && pages[i] < k.size(0), "decode_attention: a page number is outside the cache");
  const int64_t parts = torch::stable::get_num_threads();
  const std::vector<int64_t> borders = balanced_parts(context, sequences, heads, parts);
  torch::stable::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = borders[begin]; item < borders[end]; ++item) {
      const int64_t s = item / heads, h = item % heads, first = (s * query_heads + h * group) * dim;
      const int64_t head = h * page_size * dim, page = heads * page_size * dim;
      Item what{pages + s * width, context[s], page_size, page, scale, nullptr, 0};
      if (const int64_t next = item + 1; next < borders[end]) {
        what.next_keys = keys + pages[next / heads * width] * page + next % heads * page_size * dim;
        what.next_context = context[next / heads];
      }
      attend_group(what, queries + first, keys + head, values + head, result + first, group, dim);
    }
  });
}

}  // namespace

// q [sequences, query heads, dim]; caches [pages, kv heads, page size, dim]; lens [sequences] and tables [sequences, width] int32.
Tensor decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lens, const Tensor& tables, double scale) {
  check(q.is_contiguous() && k.is_contiguous() && v.is_contiguous(), "decode_attention: q and the caches must be contiguous");
  check(lens.is_contiguous() && tables.is_contiguous(), "decode_attention: lens and tables must be contiguous");
  check(lens.scalar_type() == ScalarType::Int && tables.scalar_type() == ScalarType::Int, "decode_attention: lens and tables must be int32");
  check(q.size(0) == lens.size(0) && q.size(0) == tables.size(0), "decode_attention: one query a sequence");
  check(q.size(1) % k.size(1) == 0 && q.size(2) == k.size(3), "decode_attention: q and the caches do not fit");
  check(q.size(2) <= 512 && k.size(2) <= 512, "decode_attention: head size and page size must be at most 512");
  Tensor out = torch::stable::empty_like(q);
  if (q.scalar_type() == ScalarType::BFloat16) {
    run<uint16_t>(q, k, v, lens, tables, static_cast<float>(scale), out);
  } else {
    check(q.scalar_type() == ScalarType::Float, "decode_attention: q must be float32 or bfloat16");
    run<float>(q, k, v, lens, tables, static_cast<float>(scale), out);
  }
  return out;
}

}  // namespace qwen_batch

STABLE_TORCH_LIBRARY_FRAGMENT(qwen_batch_cpu, m) {
  m.def("decode_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor context_lens, Tensor block_tables, float scale) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(qwen_batch_cpu, CompositeExplicitAutograd, m) {
  m.impl("decode_attention", TORCH_BOX(&qwen_batch::decode_attention));
}
