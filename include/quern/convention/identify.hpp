// identify.hpp — the detective: which conventions explain the outputs that somebody else's kernel gave?
//
// A trace is a few hundred lines of (accumulator, scale or multiplier and shift, zero point, output), from a debugger, a
// simulator of the chip, or a model whose origin nobody remembers. Each convention's output stage,
//
//     output = clamp( rescale(accumulator) + zero_point, min, max )          oneDNN's: the zero point inside of the rounding
//
// is run on every sample, and the verdict names the conventions that explain all of them, and for each of the others the first
// sample that rules it out. Conventions that round alike stay together; more samples near ties tell more of them apart (about
// one sample in 30 tells TFLite's double from its single rounding at scales near 0.05).
#pragma once

#include "../core/views.hpp"
#include "conventions.hpp"

namespace quern {

/// One line of a trace. Either `scale` is positive, or `multiplier` and `shift` say it as multiplier * 2^(shift - 31).
struct trace_sample {
  std::int32_t accumulator = 0;
  double scale = 0;              ///< S_in * S_weight / S_out
  std::int32_t multiplier = 0;   ///< used when scale is 0
  std::int32_t shift = 0;        ///< positive shifts to the left, as TFLite and CMSIS-NN count
  std::int32_t zero_point = 0;
  std::int32_t output = 0;
};

/// What became of one convention or rescale arithmetic.
struct verdict {
  char const* name = nullptr;        ///< of the convention, or of the arithmetic itself
  char const* arithmetic = nullptr;  ///< of its rescale
  index_t tried = 0;                ///< samples up to and including the first that rules it out
  index_t ruled_out_by = -1;        ///< the first such sample, -1 when there is none
  std::int32_t expected = 0;        ///< what it would have given there
  bool applicable = true;           ///< false: it takes no such scale (a power of two, below 1, ...)

  QUERN_INLINE constexpr bool explains() const noexcept { return ruled_out_by < 0; }
};

/// A verdict for each convention, in the order of `conventions`, and for each arithmetic, in the order of `rescales`: a kernel may
/// use an arithmetic that is no convention's default.
struct identification {
  verdict by_convention[conventions::size];
  verdict by_arithmetic[rescales::size];
  index_t samples = 0;

 private:  // in front: clang evaluates no constexpr template before its definition
  template <std::size_t N>
  QUERN_INLINE static constexpr index_t left(verdict const (&list)[N]) noexcept {
    index_t count = 0;
    for (verdict const& v : list) count += v.explains();
    return count;
  }

 public:
  /// How many conventions, how many arithmetics explain every sample.
  QUERN_INLINE constexpr index_t conventions_left() const noexcept { return left(by_convention); }
  QUERN_INLINE constexpr index_t arithmetics_left() const noexcept { return left(by_arithmetic); }
};

namespace detail {
inline namespace QUERN_ABI {

constexpr double scale_of(trace_sample const& s) noexcept {
  return s.scale != 0 ? s.scale : ldexp_of(static_cast<double>(s.multiplier), s.shift - 31);
}

/// What brings a convention's accumulators to codes: PyTorch's oneDNN has a stage of its own.
template <class C>
using identified_rescale = std::conditional_t<std::is_same_v<C, convention::pytorch_onednn>, rescale::onednn, typename C::rescaling>;

template <rescale_policy Rescale>
constexpr verdict judge(char const* name, vector_view<trace_sample const> trace, std::int32_t min, std::int32_t max) {
  verdict v{.name = name, .arithmetic = Rescale::name};
  for (index_t i = 0; i < trace.size; ++i) {
    trace_sample const& s = trace[i];
    v.tried = i + 1;
    double const scale = scale_of(s);
    v.applicable = Rescale::accepts(scale);
    if (!v.applicable) {
      v.ruled_out_by = i;
      return v;
    }
    // A (multiplier, shift) pair comes back unchanged from its real value, which a double holds exactly.
    auto parameters = Rescale::from_real(scale);
    std::int64_t real = s.zero_point;
    if constexpr (std::is_same_v<Rescale, rescale::onednn>) {
      parameters.zero_point = static_cast<float>(s.zero_point);
      real = 0;
    }
    real += Rescale::apply(s.accumulator, parameters);
    v.expected = static_cast<std::int32_t>(clamp<std::int64_t>(real, min, max));
    if (v.expected != s.output) {
      v.ruled_out_by = i;
      return v;
    }
  }
  return v;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// Which conventions and arithmetics explain `trace`, whose outputs were clamped to [min, max].
///
/// @errors  null; scale when a sample has neither a positive scale nor a positive multiplier; argument when an output is outside
///          of [min, max], or min is above max.
/// @source  numerics: each convention's header.
/// (A template only so that who merely includes this header does not pay for running every convention: 0.1 s.)
template <class Conventions = conventions, class Rescales = rescales>
constexpr identification identify(vector_view<trace_sample const> trace, std::int32_t min = -128, std::int32_t max = 127) {
  if (trace.size > 0 && trace.data == nullptr) fail(errc::null, "identify: trace is null, but has ", trace.size, " samples.");
  if (min > max) fail(errc::argument, "identify: the clamp is [", min, ", ", max, "]; min must not be above max.");
  for (index_t i = 0; i < trace.size; ++i) {
    double const scale = detail::scale_of(trace[i]);
    if (!(scale > 0) || !is_finite(scale))
      fail(errc::scale, "identify: sample ", i, " has the scale ", scale,
           "; it must be positive and finite, or 0 with a positive multiplier.");
    if (trace[i].output < min || trace[i].output > max)
      fail(errc::argument, "identify: the output of sample ", i, " is ", trace[i].output, ", outside of [", min, ", ", max, "].");
  }
  identification result;
  result.samples = trace.size;
  index_t at = 0;
  for_each_type<Conventions>([&](auto tag) {
    using convention = typename decltype(tag)::type;
    result.by_convention[at++] = detail::judge<detail::identified_rescale<convention>>(convention::name, trace, min, max);
  });
  at = 0;
  for_each_type<Rescales>([&](auto tag) {
    using arithmetic = typename decltype(tag)::type;
    result.by_arithmetic[at++] = detail::judge<arithmetic>(arithmetic::name, trace, min, max);
  });
  return result;
}

}  // inline namespace QUERN_ABI
}  // namespace quern
