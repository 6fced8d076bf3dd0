// The threads of a parallel region, which do the same work together. Each does its share; where one needs the results
// of others, all wait for each other. Such a wait costs far less than the end of one region and the start of the next.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <strings.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qwen_batch {

class Team {
 public:
  explicit Team(int64_t parts) : parts_(parts) {}

  int64_t parts() const { return parts_; }

  // Returns the number of a piece of work that no thread has taken since the last wait. Numbers start at 0.
  int64_t take() { return taken_.fetch_add(1, std::memory_order_relaxed); }

  // Returns when every part has arrived. `arriving`: number of parts that the caller stands for.
  void wait(int64_t arriving) {
    const uint32_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(arriving, std::memory_order_acq_rel) + arriving == parts_) {
      arrived_.store(0, std::memory_order_relaxed);
      taken_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    for (int spin = 0; spin < SPINS; ++spin) {
      if (round_.load(std::memory_order_acquire) != round) return;
      pause();
    }
    round_.wait(round, std::memory_order_acquire);
  }

 private:
  // Returns whether threads shall sleep at once, because others need their cores. OpenMP's threads obey this, too.
  static bool waits_passively() {
    const char* policy = std::getenv("OMP_WAIT_POLICY");
    return policy != nullptr && strcasecmp(policy, "passive") == 0;
  }

  // Some tenths of a millisecond; a thread that waits longer sleeps.
  static inline const int SPINS = waits_passively() ? 0 : 10'000;

  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
  }

  const int64_t parts_;
  alignas(64) std::atomic<int64_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<int64_t> taken_{0};
};

// One thread of a team. It usually has one part of the work; it has more if there are fewer threads than requested.
struct Member {
  Team& team;
  int64_t first, last;  // the thread's parts are `first` up to `last`

  // The borders of this thread's share of `items`.
  int64_t begin(int64_t items) const { return items * first / team.parts(); }
  int64_t end(int64_t items) const { return items * last / team.parts(); }

  // Waits until all members have called `wait`. Nothing that may throw belongs before it: the other members would wait
  // forever.
  void wait() const { team.wait(last - first); }
};

// Calls `work(member)` on every thread.
template <typename Work>
void as_team(const Work& work) {
  Team team(torch::stable::get_num_threads());
  torch::stable::parallel_for(0, team.parts(), 1,
                              [&](int64_t first, int64_t last) { work(Member{team, first, last}); });
}

}  // namespace qwen_batch
