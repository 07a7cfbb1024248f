// fake_quantize.hpp — what quantization does to real numbers, in one pass: the forward step of quantization-aware training.
//
//     y = scale * (clamp(round(x / scale) + zero_point) - zero_point)          divide
//     y = scale * (clamp(round(x * (1 / scale)) + zero_point) - zero_point)    reciprocal (PyTorch)
//
// It *is* dequantize(quantize(x)), bit for bit, in every rounding mode, form and granularity, so that what training sees is what the
// integer network computes. Floats with one scale a line are rounded in registers (fake_quantize_body.inl); for everything else both
// conversions run, a block of codes at a time that never leaves the L1 cache. With round_to::stochastic it is unbiased; gradients.hpp
// holds what flows back.
#pragma once

#include "../convert/dequantize.hpp"
#include "../convert/quantize.hpp"

#define QUERN_DETAIL_EACH_ISA "../train/fake_quantize_body.inl"
#define QUERN_DETAIL_DECLARED "../train/fake_quantize_declared.inl"
#include "../simd/each_isa.inl"

namespace quern::train {
namespace detail {

/// A piece of a tensor's params.
template <class Scheme>
struct params_piece {
  using scheme_type = Scheme;
  params_view piece;
  QUERN_INLINE params_view view() const noexcept { return piece; }
};

/// A vector's granularity as that of a matrix of one row.
template <class Granularity>
struct as_row {
  using type = per_tensor;   // per_tensor, per_row
};
template <int Axis>
struct as_row<per_channel<Axis>> {
  using type = per_channel<1>;
};
template <index_t Size, int Axis>
struct as_row<per_group<Size, Axis>> {
  using type = per_group<Size>;
};

inline namespace QUERN_ABI {

/// Codes that fit the L1 cache beside what they come from and go to.
inline constexpr index_t fake_block = 2048;

template <class Form, class Rounding>
QUERN_INLINE conversion_counts fake_quantize_line(float const* src, float* dst, index_t n, float scale, std::int32_t first, std::int32_t last, isa cap) {
  QUERN_DETAIL_BEST(false, cap, fake_quantize_line<Form, Rounding>(src, dst, n, scale, first, last))
}

/// Whether lines can be rounded in registers: neighbours share a scale, and codes are those of a nearest integer. Where kernels are linked
/// the two conversions are, and this is not.
template <class Scheme, class Rounding, class T>
inline constexpr bool has_lines = QUERN_DETAIL_KERNEL_BODIES && std::is_same_v<std::remove_const_t<T>, float> && sizeof(typename Scheme::storage) <= 2 &&
                                  quern::detail::rounds_at_halves<Rounding> && Scheme::granularity::block(1, 2) != 1;

/// Within what a line takes: products of codes and scales that neither overflow nor lose bits.
template <class Scheme>
bool lines_can_take(params_view p) noexcept {
  for (index_t i = 0; i < p.count; ++i)
    if (!(p.scale(i) >= 0x1p-60f && p.scale(i) <= 0x1p60f)) return false;
  return true;
}

/// One scale for n neighbours, the common case. Returns false, and does nothing, where something else is to be done or said.
template <class Rounding, class Form, class Scheme, class T>
bool one_line(T const* x, T* y, index_t n, params_view p, isa cap, conversion_counts& counts) {
  if constexpr (Scheme::granularity::single && has_lines<Scheme, Rounding, T>) {
    if (n > 0 && p.count == 1 && p.scales != nullptr && (x == y ? x != nullptr : quern::detail::line_apart(x, y, n) > 0)) {
      float const scale = p.scale(0);
      std::int32_t const zero = p.zero_point(0);
      if (lines_can_take<Scheme>(p) && Scheme::valid_scale(scale) && zero >= Scheme::q_min && zero <= Scheme::q_max &&
          (!Scheme::fixed_zero_point || zero == Scheme::q_middle)) {
        counts = fake_quantize_line<Form, Rounding>(x, y, n, scale, Scheme::q_min - zero, Scheme::q_max - zero, cap);
        return true;
      }
    }
  }
  return false;
}

/// One piece: through codes and back.
template <class Rounding, class Form, class Scheme, class X, class Y, class Codes, class Options>
conversion_counts there_and_back(X x, params_view p, Codes codes, Y y, Options const& options) {
  params_piece<Scheme> const piece{p};
  conversion_counts const counts = quantize<Rounding, Form>(x, piece, codes, options);
  dequantize(codes, piece, y, {.max_isa = options.max_isa});
  return counts;
}

}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// A matrix, rows x cols, with the scales of grid_of<granularity>(rows, cols). y may be x.
/// Stochastic rounding numbers the elements row by row, as quantize does; it takes memory for all codes.
/// @returns what quantize counted. @errors as quantize: shape, null, overlap, scale, zero_point; nothing is written then.
template <class Rounding = round_to::half_even, conversion_form Form = divide, class T, quantization_params Params>
  requires real<std::remove_const_t<T>>
conversion_counts fake_quantize(matrix_view<T> x, Params const& params, matrix_view<std::remove_const_t<T>> y,
                                quantize_options<Rounding> const& options = {}) {
  using scheme_type = typename Params::scheme_type;
  using code_type = typename scheme_type::storage;
  if (x.rows != y.rows || x.cols != y.cols)
    fail(errc::shape, "fake_quantize: x is ", x.rows, " x ", x.cols, ", y ", y.rows, " x ", y.cols, "; they must be equal.");
  params_view const p = params.view();
  if (conversion_counts counts; x.rows > 0 && x.contiguous() && y.contiguous() &&
                                detail::one_line<Rounding, Form, scheme_type>(x.data, y.data, x.rows * x.cols, p, options.max_isa, counts))
    return counts;
  auto const grid = grid_of<typename scheme_type::granularity>(x.rows, x.cols);
  check_params<scheme_type>(p, grid.count(), "fake_quantize");
  auto const from = quern::detail::any_const(quern::detail::any_of(x));
  auto const to = quern::detail::any_of(y);
  if (quern::detail::check_views("fake_quantize", from, to) == quern::detail::views_check::nothing_to_do) return {};
  if constexpr (detail::has_lines<scheme_type, Rounding, T>) {
    if (detail::lines_can_take<scheme_type>(p)) {
      conversion_counts counts;
      auto const rows = [&](float const* src, float* dst, quern::detail::part_shape const& s) {
        for (index_t i = 0; i < s.rows; ++i) {
          index_t const at = s.scale + i * s.row_scale;
          std::int32_t const zero = p.zero_point(at);
          counts += detail::fake_quantize_line<Form, Rounding>(src + i * s.src_stride, dst + i * s.dst_stride, s.cols, p.scale(at),
                                                               scheme_type::q_min - zero, scheme_type::q_max - zero, options.max_isa);
        }
      };
      quern::detail::for_each_part(from, to, grid, rows);
      return counts;
    }
  }
  if constexpr (!rounding_mode<Rounding>) {
    buffer<code_type> codes(x.rows * x.cols);
    return detail::there_and_back<Rounding, Form, scheme_type>(x, p, matrix_view<code_type>{codes.data(), x.rows, x.cols, x.cols, 1}, y, options);
  } else {
    alignas(64) code_type codes[detail::fake_block];
    // Whole rows where several fit, in steps that do not cut the groups of axis 0; else one row at a time, cut between groups of axis 1.
    index_t const row_step = grid.steps[0] > 1 ? grid.block[0] : 1, col_step = grid.steps[1] > 1 ? grid.block[1] : 1;
    index_t rows = detail::fake_block / x.cols / row_step * row_step, cols = x.cols;
    if (rows == 0) {
      rows = 1;
      if (cols > detail::fake_block) cols = detail::fake_block / col_step * col_step;
    }
    buffer<code_type> large;
    if (cols == 0) {  // a group longer than a block
      cols = x.cols;
      large = buffer<code_type>(cols);
    }
    conversion_counts counts;
    for (index_t i = 0; i < x.rows; i += rows)
      for (index_t j = 0; j < x.cols; j += cols) {
        index_t const r = x.rows - i < rows ? x.rows - i : rows, c = x.cols - j < cols ? x.cols - j : cols;
        auto const part = grid_of<typename scheme_type::granularity>(r, c);
        counts += detail::there_and_back<Rounding, Form, scheme_type>(
            x.block(i, j, r, c), p.sub(grid.at(i, j), part.count()),
            matrix_view<code_type>{large.empty() ? codes : large.data(), r, c, c, 1}, y.block(i, j, r, c), options);
      }
    return counts;
  }
}

/// A vector, with the scales of grid_of<granularity>(size). y may be x. @errors as above.
template <class Rounding = round_to::half_even, conversion_form Form = divide, class T, quantization_params Params>
  requires real<std::remove_const_t<T>>
conversion_counts fake_quantize(vector_view<T> x, Params const& params, vector_view<std::remove_const_t<T>> y,
                                quantize_options<Rounding> const& options = {}) {
  using scheme_type = typename Params::scheme_type;
  using granularity = typename scheme_type::granularity;
  static_assert(granularity::fits(1), "quern::train::fake_quantize: this granularity names an axis that a vector does not have.");
  if (x.size != y.size) fail(errc::shape, "fake_quantize: x has ", x.size, " values, y ", y.size, "; they must be equal.");
  if (conversion_counts counts; x.contiguous() && y.contiguous() &&
                                detail::one_line<Rounding, Form, scheme_type>(x.data, y.data, x.size, params.view(), options.max_isa, counts))
    return counts;
  auto const grid = grid_of<granularity>(x.size);
  check_params<scheme_type>(params.view(), grid.count(), "fake_quantize");
  using row_granularity = typename detail::as_row<granularity>::type;
  detail::params_piece<with_granularity<scheme_type, row_granularity>> const p{params.view()};
  index_t const rows = x.size > 0 ? 1 : 0;
  return fake_quantize<Rounding, Form>(matrix_view<T>{x.data, rows, x.size, x.size * x.stride, x.stride}, p,
                                       matrix_view<std::remove_const_t<T>>{y.data, rows, y.size, y.size * y.stride, y.stride}, options);
}

/// An NHWC tensor without gaps, per tensor or per channel (axis 3). y may be x. @errors as above; shape when there are gaps.
template <class Rounding = round_to::half_even, conversion_form Form = divide, class T, quantization_params Params>
  requires real<std::remove_const_t<T>>
conversion_counts fake_quantize(tensor_view<T> x, Params const& params, tensor_view<std::remove_const_t<T>> y,
                                quantize_options<Rounding> const& options = {}) {
  using scheme_type = typename Params::scheme_type;
  using granularity = typename scheme_type::granularity;
  static_assert(granularity::single || std::is_same_v<granularity, per_channel<3>> || std::is_same_v<granularity, per_channel<-1>>,
                "quern::train::fake_quantize: tensors take per_tensor or per_channel<3>; for other axes pass matrices.");
  if (x.n != y.n || x.h != y.h || x.w != y.w || x.c != y.c || !x.contiguous() || !y.contiguous())
    fail(errc::shape, "fake_quantize: x is ", x.n, " x ", x.h, " x ", x.w, " x ", x.c, ", y ", y.n, " x ", y.h, " x ", y.w, " x ", y.c,
         "; they must be equal and without gaps.");
  using row_granularity = std::conditional_t<granularity::single, per_tensor, per_channel<1>>;
  detail::params_piece<with_granularity<scheme_type, row_granularity>> const p{params.view()};
  return fake_quantize<Rounding, Form>(matrix_view<T>{x.data, x.n * x.h * x.w, x.c, x.c, 1}, p,
                                       matrix_view<std::remove_const_t<T>>{y.data, y.n * y.h * y.w, y.c, y.c, 1}, options);
}

}  // inline namespace QUERN_ABI
}  // namespace quern::train
