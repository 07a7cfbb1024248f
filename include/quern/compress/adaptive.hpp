// adaptive.hpp — choose the width at run time: the fewest bits whose error, predicted from this tensor's own range, meets a target.
//
// An absmax-scaled tensor with b symmetric bits has noise step² / 12, step = max|x| / (2^(b-1) - 1). So the signal to noise ratio is
//
//     sqnr(b) = 10 log10( 12 E[x²] (2^(b-1) - 1)² / max|x|² )
//
// valid while a step holds many values (b >= 4, continuous data); for less the noise is bounded by step² / 4, which is used then.
#pragma once

#include "../calibrate/observe.hpp"
#include "../core/elementary.hpp"
#include "../core/error.hpp"

namespace quern::compress {

struct adaptive_options {
  int min_bits = 2, max_bits = 8;
  isa max_isa = isa::best;
};

/// The width and what it is expected to achieve.
struct adaptive_width {
  int bits = 0;
  double predicted_sqnr = 0;    ///< dB; infinity for a tensor of zeros
  bool meets_target = false;
  float absmax = 0;
};

inline namespace QUERN_ABI {

/// Predicted signal to noise ratio in dB of absmax-scaled symmetric codes.
inline double predicted_sqnr(int bits, double mean_square, double absmax) noexcept {
  if (mean_square == 0) return bits_of<double>(std::uint64_t{0x7ff0000000000000u});
  double const top = static_cast<double>((1 << (bits - 1)) - 1);
  return 10 * log10_of((bits >= 4 ? 12.0 : 4.0) * mean_square * top * top / (absmax * absmax));
}

/// One pass over x, then the fewest bits that promise target_sqnr (dB); max_bits where none does.
/// @errors argument for non-finite values or a wrong range of widths.
inline adaptive_width choose_width(vector_view<float const> x, double target_sqnr, adaptive_options options = {}) {
  if (options.min_bits < 2 || options.max_bits > 16 || options.min_bits > options.max_bits)
    fail(errc::argument, "choose_width: widths are ", options.min_bits, " to ", options.max_bits, "; they must rise and be 2 to 16.");
  if (x.size > 0 && x.data == nullptr) fail(errc::null, "choose_width: x is null, but has ", x.size, " values.");
  if (!x.contiguous()) fail(errc::argument, "choose_width: x has stride ", x.stride, "; it must be 1.");
  calibrate::detail::block_moments m;
  calibrate::detail::observe_moments(x.data, x.size, m, options.max_isa);
  if (m.finite != x.size) fail(errc::argument, "choose_width: ", x.size - m.finite, " of ", x.size, " values are NaN or infinite; all must be finite.");
  adaptive_width w;
  if (x.size == 0) return {options.min_bits, predicted_sqnr(2, 0, 0), true, 0};
  w.absmax = -m.least > m.most ? -m.least : m.most;
  double const mean_square = m.squares / static_cast<double>(m.finite);
  for (w.bits = options.min_bits;; ++w.bits) {
    w.predicted_sqnr = predicted_sqnr(w.bits, mean_square, w.absmax);
    w.meets_target = w.predicted_sqnr >= target_sqnr;
    if (w.meets_target || w.bits == options.max_bits) return w;
  }
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
