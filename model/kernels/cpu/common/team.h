// The threads of a parallel region, which go through the same work together: each does its share, and where one needs what
// others have done, all wait for each other. A wait costs far less than the end of one region and the beginning of the next.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qwen_batch {

class Team {
 public:
  explicit Team(int64_t parts) : parts_(parts) {}

  int64_t parts() const { return parts_; }

  // The number of a piece of work that no thread has taken since the last wait, from 0.
  int64_t take() { return taken_.fetch_add(1, std::memory_order_relaxed); }

  // Returns when every part has arrived.
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
  static constexpr int SPINS = 10'000;  // some tenths of a millisecond; who waits longer than that sleeps

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

// What one thread does: usually one part, more where there are fewer threads than were asked for.
struct Member {
  Team& team;
  int64_t first, last;  // parts

  // The borders of its share of so many things.
  int64_t begin(int64_t items) const { return items * first / team.parts(); }
  int64_t end(int64_t items) const { return items * last / team.parts(); }

  // Until all have come here. Nothing that may throw belongs before it: the others would wait forever.
  void wait() const { team.wait(last - first); }
};

// Calls `work(member)` on every thread.
template <typename Work>
void as_team(const Work& work) {
  Team team(torch::stable::get_num_threads());
  torch::stable::parallel_for(0, team.parts(), 1, [&](int64_t first, int64_t last) { work(Member{team, first, last}); });
}

}  // namespace qwen_batch
