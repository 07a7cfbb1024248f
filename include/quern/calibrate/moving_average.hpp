// moving_average.hpp — the extremes of each batch, averaged with weight `constant` for the newest: PyTorch's training-time observer.
//
//     first batch:  min = batch min                      afterwards:  min += constant * (batch min - min)         (max alike)
//
// In float, rounded after each operation. Order-dependent by its nature, so it does not merge: an average over time has no
// meaning across threads. Use histogram or min_max where order must not matter.
//
// @source  torch/ao/quantization/observer.py, MovingAverageMinMaxObserver (constant 0.01).
#pragma once

#include "min_max.hpp"

QUERN_FP_BEGIN

namespace quern::calibrate {
inline namespace QUERN_ABI {

/// The extremes of the finite values of a batch; empty() when there are none.
template <class T>
  requires real<std::remove_const_t<T>>
real_range extremes(vector_view<T> batch, observe_options const& options) {
  if (batch.size > 0 && batch.data == nullptr) fail(errc::null, "extremes: the batch is null, but has ", batch.size, " values.");
  return range_of(batch, options).range;
}
template <class T>
  requires real<std::remove_const_t<T>>
real_range extremes(vector_view<T> batch, isa max_isa = isa::best) {
  return extremes(batch, observe_options{.max_isa = max_isa});
}

/// See the head of this file. Batches without a finite value are left out.
class moving_average {
 public:
  static constexpr char const* name = "moving_average";

  /// @errors argument unless 0 < constant <= 1.
  explicit moving_average(float constant = 0.01f) : constant_(constant) {
    if (!(constant > 0 && constant <= 1))
      fail(errc::argument, "moving_average: constant is ", static_cast<double>(constant), "; it must be above 0 and at most 1.");
  }
  template <class T>
  void observe(vector_view<T> batch, observe_options const& options) {
    real_range const r = extremes(batch, options);
    if (r.empty()) return;
    if (batches_++ == 0) {
      range_ = r;
      return;
    }
    range_.min = range_.min + rounded(constant_ * (r.min - range_.min));
    range_.max = range_.max + rounded(constant_ * (r.max - range_.max));
  }
  template <class T>
  void observe(vector_view<T> batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
  }
  /// An object of another library: an Eigen vector, matrix or tensor.
  template <foreign Object>
  void observe(Object const& batch, observe_options const& options) {
    observe(quern::detail::values_of("observe", foreign_view<Object>::of(batch)), options);
  }
  template <foreign Object>
  void observe(Object const& batch, isa max_isa = isa::best) {
    observe(batch, observe_options{.max_isa = max_isa});
  }
  real_range range() const noexcept { return range_; }
  std::int64_t batches() const noexcept { return batches_; }

  static constexpr index_t serialized_size() noexcept { return detail::blob_frame + 20; }
  void save(vector_view<std::uint8_t> dst) const {
    detail::byte_writer w(dst, observer_kind::moving_average, serialized_size());
    w.f32(constant_), w.f32(range_.min), w.f32(range_.max), w.u64(static_cast<std::uint64_t>(batches_));
    w.finish();
  }
  static moving_average load(vector_view<std::uint8_t const> src) {
    detail::byte_reader r(src, observer_kind::moving_average);
    moving_average m(r.f32());
    m.range_.min = r.f32();
    m.range_.max = r.f32();
    m.batches_ = static_cast<std::int64_t>(r.u64());
    if (is_nan(m.range_.min) || is_nan(m.range_.max)) fail(errc::format, "load: src's range is NaN.");
    return m;
  }

 private:
  float constant_;
  real_range range_;
  std::int64_t batches_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace quern::calibrate

QUERN_FP_END
