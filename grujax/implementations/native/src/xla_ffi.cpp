// What XLA calls. grujax/implementations/primitive/lowering.py lists the operands and results;
// the recurrence itself is in forward.cpp and backward.cpp.
#include "gru.h"
#include "self_test.h"
#include "xla/ffi/api/ffi.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ffi = xla::ffi;

namespace grujax {
namespace {

class XlaPool : public Pool {
 public:
  explicit XlaPool(ffi::ThreadPool pool) : pool_(pool) {}
  int64_t threads() const override { return std::max<int64_t>(1, pool_.num_threads()); }
  void schedule(std::function<void()> run) override { pool_.Schedule(std::move(run)); }

 private:
  ffi::ThreadPool pool_;
};

// Reads the buffers of a call in order. `present` and `stacked` have one bit for each.
class BufferReader {
 public:
  BufferReader(ffi::RemainingArgs arguments, int64_t present, int64_t stacked)
      : arguments_(arguments), present_(present), stacked_(stacked) {}

  ModelArray next() {
    const int64_t bit = int64_t{1} << slot_++;
    if (!(present_ & bit)) return {};
    const ffi::AnyBuffer buffer = *arguments_.get<ffi::AnyBuffer>(index_++);
    last_dimensions_ = buffer.dimensions();
    return {buffer.untyped_data(), buffer.element_type() == ffi::BF16, (stacked_ & bit) != 0};
  }

  GateResiduals next_gates() {
    GateResiduals gates;
    for (ModelArray* gate : {&gates.reset, &gates.update, &gates.candidate, &gates.product})
      *gate = next();
    return gates;
  }

  // A dimension of the last buffer, counted from its end.
  int64_t dimension(int from_end) const {
    return last_dimensions_[last_dimensions_.size() - from_end];
  }

 private:
  ffi::RemainingArgs arguments_;
  int64_t present_, stacked_;
  int slot_ = 0, index_ = 0;
  ffi::AnyBuffer::Dimensions last_dimensions_;
};

Arguments read_arguments(BufferReader& buffers, int64_t models, int64_t reverse, bool reset_after) {
  Arguments a;
  a.reverse = reverse;
  a.reset_after = reset_after;
  a.size.models = models;
  for (ModelArray* weights : {&a.w_x, &a.w_h, &a.b_x, &a.b_hn}) *weights = buffers.next();
  a.xs = buffers.next();
  a.size.steps = buffers.dimension(3);
  a.size.rows = buffers.dimension(2);
  a.size.inputs = buffers.dimension(1);
  a.h0 = buffers.next();
  a.size.units = buffers.dimension(1);
  a.reset_state = buffers.next();
  a.valid = buffers.next();
  a.restart = buffers.next();
  a.kept = buffers.next();
  if (a.kept.data) a.kept_units = buffers.dimension(1);
  a.zoneout_rate = buffers.next();
  a.dropout_mask = buffers.next();
  if (a.multiplies_bfloat16()) a.product = bfloat16_product();
  return a;
}

// Asks for large pages for a new array that nobody has touched yet: fewer page faults.
void advise_large_pages(const ffi::AnyBuffer& buffer) {
#ifndef MADV_HUGEPAGE
  static_cast<void>(buffer);
#else
  constexpr uintptr_t kPage = 4096;
  const uintptr_t from = reinterpret_cast<uintptr_t>(buffer.untyped_data());
  const uintptr_t begin = (from + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (from + buffer.size_bytes()) & ~(kPage - 1);
  constexpr size_t kMinBytes = 4 << 20;
  if (buffer.size_bytes() >= kMinBytes)
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

ModelArray result(ffi::RemainingRets& results, size_t index) {
  if (index >= results.size()) return {};
  const ffi::AnyBuffer buffer = **results.get<ffi::AnyBuffer>(index);
  advise_large_pages(buffer);
  return {buffer.untyped_data(), buffer.element_type() == ffi::BF16, true};
}

template <class Run>
ffi::Error catch_bad_alloc(Run run) {
  try {
    run();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "out of memory for the scratch arrays of the GRU");
  }
  return ffi::Error::Success();
}

ffi::Error run_forward(ffi::ThreadPool threads, ffi::RemainingArgs operands,
                       ffi::RemainingRets rets, int64_t models, int64_t present, int64_t stacked,
                       int64_t reverse, bool reset_after) {
  return catch_bad_alloc([&] {
    BufferReader buffers(operands, present, stacked);
    const Arguments arguments = read_arguments(buffers, models, reverse, reset_after);
    ForwardResults results;
    results.h_last = result(rets, 0);
    results.hs = result(rets, 1);
    results.gates = {result(rets, 2), result(rets, 3), result(rets, 4), result(rets, 5)};
    XlaPool pool(threads);
    forward(pool, arguments, results);
  });
}

ffi::Error run_backward(ffi::ThreadPool threads, ffi::RemainingArgs operands,
                        ffi::RemainingRets rets, int64_t models, int64_t present, int64_t stacked,
                        int64_t reverse, bool reset_after) {
  return catch_bad_alloc([&] {
    BufferReader buffers(operands, present, stacked);
    const Arguments arguments = read_arguments(buffers, models, reverse, reset_after);
    BackwardArguments extra;
    extra.hs = buffers.next();
    extra.gates = buffers.next_gates();
    extra.d_h_last = buffers.next();
    extra.d_hs = buffers.next();
    const BackwardResults results{result(rets, 0), result(rets, 1), result(rets, 2),
                                  result(rets, 3), result(rets, 4), result(rets, 5),
                                  result(rets, 6)};
    XlaPool pool(threads);
    backward(pool, arguments, extra, results);
  });
}

auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .RemainingArgs()
      .RemainingRets()
      .Attr<int64_t>("models")
      .Attr<int64_t>("present")
      .Attr<int64_t>("stacked")
      .Attr<int64_t>("reverse")
      .Attr<bool>("reset_after");
}

}  // namespace
}  // namespace grujax

// Whether the compiled kernel agrees with the reference on this machine. Python cannot catch what it
// would throw, so without memory for the test it has not passed.
extern "C" bool grujax_passes_self_test() try {
  struct : grujax::Pool {
    int64_t threads() const override { return 1; }
    void schedule(std::function<void()> run) override { run(); }
  } pool;
  for (bool reset_after : {false, true})
    for (bool keeps_rows : {false, true}) {
      grujax::Trial trial({1, 5, 11, 3, 21}, false, reset_after, 31, keeps_rows, 0);
      trial.run(pool, reset_after);
      if (!(trial.error() < 1e-5)) return false;
    }
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(grujax_forward, grujax::run_forward, grujax::binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(grujax_backward, grujax::run_backward, grujax::binding());
