// Random shapes and options through the kernel, beside the reference; compiled by
// tests/test_kernels.py with the sanitizers. Arguments: how many cases.
#include "self_test.h"

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

// Helpers that start late, or never before the work is done.
struct LateThreads : grujax::Pool {
  explicit LateThreads(int64_t number) : number(number) {}

  int64_t number;
  std::vector<std::thread> running;

  int64_t threads() const override { return number; }

  void schedule(std::function<void()> run) override {
    running.emplace_back([run, wait = running.size() % 2] {
      if (wait) std::this_thread::sleep_for(std::chrono::microseconds(200));
      run();
    });
  }

  ~LateThreads() override {
    for (auto& thread : running) thread.join();
  }
};

}  // namespace

int main(int, char** arguments) {
  std::mt19937 random(0);
  auto below = [&](int64_t end) { return static_cast<int64_t>(random() % end); };
  double worst = 0;
  for (int i = 0; i < std::atoi(arguments[1]); ++i) {
    const bool large = i % 16 == 0;  // several parts, slices and chunks
    const grujax::Sizes size{1 + below(4), 1 + below(9), 1 + below(large ? 300 : 20), 1 + below(20),
                             1 + below(40)};
    const int reverse = static_cast<int>(below(4));
    const bool reset_after = below(2), keep_gates = below(2);
    int masks = static_cast<int>(below(32));
    if (reverse && (masks & 1)) masks |= 2;  // the reverse walk marks where a row begins
    grujax::Trial trial(size, reverse, reset_after, masks, i);
    LateThreads pool(1 + below(5));
    trial.run(pool, keep_gates);
    const double error = trial.error();
    worst = std::max(worst, error);
    if (!(error < 1e-5)) {
      std::printf("case %d: models %ld T%ld B%ld I%ld H%ld reverse %d after %d masks %d gates %d: %g\n",
                  i, long(size.models), long(size.steps), long(size.rows), long(size.inputs),
                  long(size.units), reverse, reset_after, masks, keep_gates, error);
      return 1;
    }
  }
  std::printf("worst %g\n", worst);
}
