// Independent tasks on several threads: no thread ever waits for another inside a task.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace grujax {

// Threads of somebody else.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual int64_t threads() const = 0;  // at least 1
  virtual void schedule(std::function<void()> run) = 0;
};

// Tasks that whoever comes takes one by one. The caller takes part, so that all get done even if
// no helper ever starts; a helper that starts late finds nothing left and touches nothing else.
class Tasks {
 public:
  Tasks(int64_t count, std::function<void(int64_t, int)> run)
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
  std::condition_variable all_finished_;
  int64_t finished_ = 0;
};

// Calls run(task, worker) for every task; 0 ≤ worker < min(tasks, workers), one thread at a time.
inline void parallel_for(Pool& pool, int64_t count, int64_t workers,
                         std::function<void(int64_t, int)> run) {
  const int64_t helpers = std::min(count, workers) - 1;
  if (helpers < 1) {
    for (int64_t task = 0; task < count; ++task) run(task, 0);
    return;
  }
  auto tasks = std::make_shared<Tasks>(count, std::move(run));
  for (int64_t i = 0; i < helpers; ++i) pool.schedule([tasks] { tasks->work(); });
  tasks->work();
  tasks->wait();
}

}  // namespace grujax
