// How the work is split into independent tasks, and how threads share these tasks, or one task of
// few rows. No thread ever waits for another that has not started.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "layer.h"

namespace grujax {

// A pool of threads that the caller owns.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual int64_t threads() const = 0;  // at least 1
  virtual void schedule(std::function<void()> run) = 0;
};

// As std::condition_variable, whose `wait` needs GCC 12's libstdc++ wherever GCC 12 compiled it.
class Condition {
 public:
  Condition() = default;
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  ~Condition() { pthread_cond_destroy(&condition_); }

  void notify_one() { pthread_cond_signal(&condition_); }

  template <class F>
  void wait(std::unique_lock<std::mutex>& lock, F&& is_true) {
    while (!is_true()) pthread_cond_wait(&condition_, lock.mutex()->native_handle());
  }

 private:
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
};

// Tasks that threads take one by one. The caller takes part, so all tasks finish even if no helper
// ever starts. A helper that starts late finds no task left and touches nothing else.
class TaskQueue {
 public:
  TaskQueue(int64_t count, std::function<void(int64_t, int)> run)
      : count_(count), run_(std::move(run)) {}

  void work() {
    int worker = -1;
    for (int64_t task; (task = next_.fetch_add(1)) < count_;) {
      if (worker < 0) worker = workers_.fetch_add(1);
      run_(task, worker);
      std::lock_guard<std::mutex> lock(mutex_);
      if (++finished_ == count_) all_finished_.notify_one();
    }
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_finished_.wait(lock, [this] { return finished_ == count_; });
  }

 private:
  const int64_t count_;
  const std::function<void(int64_t, int)> run_;
  std::atomic<int64_t> next_{0};
  std::atomic<int> workers_{0};
  std::mutex mutex_;
  Condition all_finished_;
  int64_t finished_ = 0;
};

// Calls run(task, worker) for every task. 0 ≤ worker < min(tasks, workers), and a worker runs one
// task at a time.
inline void parallel_for(Pool& pool, int64_t count, int64_t workers,
                         std::function<void(int64_t, int)> run) {
  const int64_t helpers = std::min(count, workers) - 1;
  if (helpers < 1) {
    for (int64_t task = 0; task < count; ++task) run(task, 0);
    return;
  }
  auto tasks = std::make_shared<TaskQueue>(count, std::move(run));
  for (int64_t i = 0; i < helpers; ++i) pool.schedule([tasks] { tasks->work(); });
  tasks->work();
  tasks->wait();
}

// Threads that compute one task together. Each runs the same program, whose course may depend on
// nothing that its phases write. In a phase they take the parts of the units one by one, and wait
// until all parts are finished. A thread that starts late finds the first phases finished.
class Team {
 public:
  // Calls program(team) in the caller and in up to `members` − 1 threads of the pool.
  template <class F>
  static void run(Pool& pool, int64_t members, F&& program) {
    auto shared = std::make_shared<Shared>(members);
    for (int64_t i = 1; i < members; ++i)
      pool.schedule([shared, i, &program] {
        if (!(shared->active.fetch_add(1) & kClosed)) {
          Team team(shared.get(), i);
          program(team);
        }
        shared->active.fetch_sub(1);
      });
    Team team(shared.get(), 0);
    program(team);
    shared->active.fetch_or(kClosed);
    wait([&] { return shared->active.load() == kClosed; });
  }

  // The caller alone.
  Team() = default;

  // One phase: calls f(first, end) for the parts of `blocks` blocks of units.
  template <class F>
  GRUJAX_INLINE void each(int64_t blocks, F&& f) {
    if (!shared_) return f(int64_t{0}, blocks);
    const int64_t parts = shared_->parts;
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t part = (first_ + i) % parts;
      int64_t phase = phase_;
      if (!shared_->taken[part].phases.compare_exchange_strong(phase, phase_ + 1)) continue;
      f(blocks * part / parts, blocks * (part + 1) / parts);
      shared_->finished.fetch_add(1);
    }
    ++phase_;
    wait([&] { return shared_->finished.load() >= phase_ * parts; });
  }

 private:
  static constexpr int64_t kClosed = int64_t{1} << 32;

  struct alignas(64) Taken {
    std::atomic<int64_t> phases{0};
  };

  struct Shared {
    explicit Shared(int64_t parts) : parts(parts), taken(new Taken[parts]) {}

    const int64_t parts;
    const std::unique_ptr<Taken[]> taken;  // how many phases of each part
    std::atomic<int64_t> finished{0};      // parts of all phases
    std::atomic<int64_t> active{0};        // threads inside the program, and kClosed at its end
  };

  Team(Shared* shared, int64_t first) : shared_(shared), first_(first) {}

  template <class F>
  static void wait(F&& is_true) {
    constexpr int kSpins = 4096;  // some microseconds, as long as a phase
    for (int i = 0; !is_true(); ++i) {
      if (i >= kSpins) sched_yield();
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
  }

  Shared* shared_ = nullptr;
  int64_t first_ = 0, phase_ = 0;
};

// The most rows that a task processes at once, which bounds the scratch memory.
constexpr int64_t kMaxSliceRows = 128;
// About how many rows all steps of a time window have together: enough for efficient matmuls over
// the window, few enough to stay in the L2 cache.
constexpr int64_t kWindowRows = 128;

// Rows [first_row, first_row + rows) of a layer, processed in windows of `window_length` steps.
struct Slice {
  int64_t first_row, rows, window_length;

  int64_t window_rows() const { return window_length * rows; }
};

inline int64_t choose_window_length(const Sizes& s, int64_t rows) {
  return std::max<int64_t>(1, std::min(s.steps, kWindowRows / rows));
}

// Which rows a task computes: all rows of a model if there are enough models for all threads,
// otherwise a part of its rows. A part is processed in slices, each over all steps. A team shares
// the units of the only task if there are too few rows for all threads.
class BatchSplit {
 public:
  BatchSplit(const Sizes& size, int64_t threads, bool may_split_units) : size_(size) {
    // With fewer multiplications, waking a helper does not pay. It pays earlier where it reads half
    // of the weights.
    constexpr double kMinParallelWork = 2e6, kMinWorkOfTeam = 4e5;
    const double work =
        3. * size.models * size.steps * size.rows * size.units * (size.units + size.inputs);
    threads_ = work < kMinParallelWork ? 1 : threads;
    const int64_t wanted = (threads_ + size.models - 1) / size.models;
    // Tiles of four rows and more are efficient. In long calls, fewer rows are faster than idle
    // threads.
    constexpr double kMinWorkOfFewRows = 1e7;
    const bool may_be_few = work >= kMinWorkOfFewRows && size.rows < 4 * wanted;
    alignment_ = !may_be_few ? 4 : size.rows >= 2 * wanted ? 2 : 1;
    parts_ = std::max<int64_t>(1, std::min(wanted, size.rows / alignment_));
    // Each member of a team has so many recurrent weights that to read them at each step takes
    // longer than to wait for the others.
    constexpr int64_t kMinWeightsOfMember = 1 << 16;
    const int64_t members = std::min(threads, 3 * size.units * size.units / kMinWeightsOfMember);
    if (may_split_units && work >= kMinWorkOfTeam && size.models == 1 && size.rows / 4 < members) {
      parts_ = 1;
      members_ = members;
    }
  }

  int64_t parts() const { return parts_; }
  int64_t tasks() const { return size_.models * parts_; }
  int64_t threads() const { return threads_; }
  int64_t workers() const { return std::min(tasks(), threads_); }
  int64_t members() const { return members_; }  // of the team; 1: there is none

  // The largest slice of any task.
  Slice largest_slice() const {
    const int64_t most = std::min(kMaxSliceRows, bound(1) - bound(0) + alignment_);
    const int64_t rows = std::min(size_.rows, most);
    return {0, rows, choose_window_length(size_, rows)};
  }

  template <class F>
  void for_slices(int64_t part, F&& f) const {
    const int64_t begin = bound(part), end = bound(part + 1);
    const int64_t slices = (end - begin + kMaxSliceRows - 1) / kMaxSliceRows;
    for (int64_t i = 0; i < slices; ++i) {
      const int64_t from = begin + row_units(end - begin) * i / slices * alignment_;
      const int64_t next = begin + row_units(end - begin) * (i + 1) / slices * alignment_;
      const int64_t to = std::min(end, next);
      f(Slice{from, to - from, largest_slice().window_length});
    }
  }

 private:
  int64_t row_units(int64_t rows) const { return (rows + alignment_ - 1) / alignment_; }

  int64_t bound(int64_t part) const {
    return std::min(size_.rows, row_units(size_.rows) * part / parts_ * alignment_);
  }

  const Sizes size_;
  int64_t threads_, parts_, alignment_, members_ = 1;
};

}  // namespace grujax
