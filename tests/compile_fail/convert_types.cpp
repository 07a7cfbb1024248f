// expect: quern::quantize: src and dst must have the same number of axes.
// expect: quern::quantize: dst must be a view of the scheme's storage type
// expect: quern::dequantize: src must be a view of the scheme's storage type
// expect: quern::dequantize: dst must not be const.
// expect: quern::requantize: src must be a view of its scheme's storage type.
// expect: quern::requantize: two schemes with several scales must have the same granularity.
// expect: quern::quantize: the code of dst must be that of the scheme
// expect: quern: Rounding must be a mode of quern::round_to
#include <quern/convert/convert.hpp>

using namespace quern;

void convert(matrix_view<float> x, matrix_view<std::int8_t> q, matrix_view<std::uint8_t> u, params<symmetric<s8>> const& p,
             params<symmetric<s8, per_channel<0>>> const& rows, params<symmetric<s8, per_channel<1>>> const& cols) {
#ifdef MISTAKE
  vector_view<float> const line{x.data, x.cols, 1};
  quantize(line, p, q);
  quantize(x, p, u);
  dequantize(u, p, x);
  dequantize(q, p, matrix_view<float const>(x));
  requantize(u, p, p, q);
  requantize(q, rows, cols, q);
  quantize(line, p, packed_view<s4>{nullptr, 0});
  quantize<symmetric<s8>>(x, p, q);
#else
  quantize(x, p, q);
  dequantize(q, p, x);
  requantize(q, rows, rows, q);
  requantize(q, p, cols, q);
  static_cast<void>(u);
#endif
}
