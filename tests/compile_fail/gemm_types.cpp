// expect: quern::gemm: lhs must hold std::int8_t, std::uint8_t or std::int16_t.
// expect: quern::gemm: dst must hold std::int32_t, std::int8_t, std::uint8_t, std::int16_t, float or bfloat16.
// expect: quern::gemm: the fourth argument must be a quern::epilogue<...>.
// expect: quern::gemm: a float or bfloat16 destination needs epilogue<to_real>.
// expect: quern::epilogue<Rescale>: Rescale must be no_rescale, to_real or a policy of quern::rescale
// expect: quern: packed weights are std::int8_t, std::uint8_t, s4 or u4.
// expect: quern::gemm: K is beyond the depth up to which int32 accumulators are exact for these types
#include <quern/ops/gemm.hpp>

using namespace quern;

void multiply(matrix_view<std::uint8_t const> x, packed_matrix<std::int8_t> const& w, matrix_view<float> real) {
#ifdef MISTAKE
  gemm(matrix_view<std::int32_t const>{}, w, matrix_view<std::int32_t>{});
  gemm(x, w, matrix_view<double>{});
  gemm(x, w, matrix_view<std::int32_t>{}, 5);
  gemm(x, w, real);
  using wrong = epilogue<round_to::half_even>;
  wrong e;
  packed_matrix<std::int16_t> p;
  static_assert(gemm_depth_check<std::uint8_t, std::int8_t, 65794>);
#else
  gemm(x, w, real, epilogue<to_real>{});
#endif
}
