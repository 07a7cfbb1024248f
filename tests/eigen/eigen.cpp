#include <quern/eigen/operations.hpp>
#include <quern/reference/gemm.hpp>
#include <quern/reference/quantize.hpp>

#include "support/catch.hpp"

#include <string>

using namespace quern;

namespace {

using row_floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using col_bytes = Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic>;
using row_bytes = Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class V, class M>
bool same_elements(V v, M const& m) {
  bool same = v.rows == m.rows() && v.cols == m.cols();
  for (index_t i = 0; same && i < v.rows; ++i)
    for (index_t j = 0; j < v.cols; ++j) same = same && &v(i, j) == &m.coeffRef(i, j);
  return same;
}

template <class Call>
std::string message(Call call) {
  try {
    call();
  } catch (error const& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Eigen: matrices, Maps, Refs and Blocks of either order are seen where they are", "[eigen]") {
  Eigen::MatrixXf a = Eigen::MatrixXf::Random(5, 7);
  row_floats b = row_floats::Random(5, 7);
  Eigen::ArrayXXf c = Eigen::ArrayXXf::Random(4, 3);
  Eigen::Matrix3f d = Eigen::Matrix3f::Random();
  Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, 0, 6, 8> e(5, 7);
  CHECK(same_elements(view(a), a));
  CHECK(same_elements(view(b), b));
  CHECK(same_elements(view(c), c));
  CHECK(same_elements(view(d), d));
  CHECK(same_elements(view(e), e));
  CHECK(view(b).row_major());
  CHECK(view(a).transposed().row_major());

  auto block = a.block(1, 2, 3, 4);
  CHECK(same_elements(view(block), block));
  auto turned = b.transpose();
  CHECK(same_elements(view(turned), turned));
  Eigen::Ref<Eigen::MatrixXf> ref = a.topRows(2);
  CHECK(same_elements(view(ref), ref));
  Eigen::Map<row_floats, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>> map(a.data(), 3, 2, {10, 3});
  CHECK(same_elements(view(map), map));
  Eigen::Map<Eigen::MatrixXf const> constant(a.data(), 7, 5);
  static_assert(std::is_same_v<decltype(view(constant)), matrix_view<float const>>);
  Eigen::MatrixXf const& const_a = a;
  static_assert(std::is_same_v<decltype(view(const_a)), matrix_view<float const>>);
  static_assert(std::is_same_v<decltype(view(a)), matrix_view<float>>);
}

TEST_CASE("Eigen: vectors are vectors, or matrices on demand", "[eigen]") {
  Eigen::VectorXf v = Eigen::VectorXf::Random(6);
  Eigen::MatrixXf a = Eigen::MatrixXf::Random(5, 7);
  row_floats b = row_floats::Random(5, 7);
  static_assert(std::is_same_v<decltype(view(v)), vector_view<float>>);
  CHECK(view(v).size == 6);
  for (auto const& [seen, first, second] : {std::tuple{view(a.row(2)), &a(2, 0), &a(2, 1)}, std::tuple{view(a.col(2)), &a(0, 2), &a(1, 2)},
                                            std::tuple{view(b.row(2)), &b(2, 0), &b(2, 1)}, std::tuple{view(b.col(2)), &b(0, 2), &b(1, 2)}}) {
    CHECK(&seen[0] == first);
    CHECK(&seen[1] == second);
  }
  CHECK(same_elements(as_matrix(v), v));
  auto row = a.row(3);
  CHECK(same_elements(as_matrix(row), row));
  Eigen::Map<Eigen::VectorXf, 0, Eigen::InnerStride<2>> spread(v.data(), 3);
  CHECK(&view(spread)[2] == v.data() + 4);
}

TEST_CASE("Eigen: views become Maps", "[eigen]") {
  float x[24];
  for (int i = 0; i < 24; ++i) x[i] = static_cast<float>(i);
  CHECK(as_eigen(row_major(x, 4, 6))(2, 1) == 13);
  CHECK(as_eigen(col_major(x, 4, 6))(2, 1) == 6);
  CHECK(as_eigen(matrix_view<float const>{x, 2, 3, 12, 2}).sum() == 0 + 2 + 4 + 12 + 14 + 16);
  CHECK(as_eigen(vector_view<float>{x, 3, 4}).sum() == 12);
  as_eigen(row_major(x, 4, 6)) *= 2;
  CHECK(x[23] == 46);
  auto const pixels = as_eigen(nhwc(x, 1, 2, 4, 3));
  CHECK(pixels.rows() == 8);
  CHECK(pixels(5, 2) == 34);
  auto const planes = as_eigen(nchw(x, 1, 3, 2, 4));
  CHECK(planes(5, 2) == 42);
  CHECK(message([&] { (void)as_eigen(matrix_view<float>{x, 2, 2, -2, 1}); }) == "as_eigen: the strides are -2 and 1; Eigen knows none below 0.");
  CHECK(message([&] { (void)as_eigen(nchw(x, 2, 3, 2, 2)); }).find("evenly") != std::string::npos);

  row_floats m = row_floats::Random(8, 3);
  auto const t = nhwc(m, 1, 2, 4);
  CHECK(&t(0, 1, 2, 1) == &m(6, 1));
  CHECK(message([&] { (void)nhwc(m, 1, 2, 3); }) == "nhwc: m has 8 rows; 1 x 2 x 3 pixels need 6.");
}

TEMPLATE_TEST_CASE("Eigen: quantize in either order, whole or in part, equals the reference", "[eigen][quantize]", Eigen::MatrixXf, row_floats) {
  TestType const w = TestType::Random(9, 20) * 3;
  using S = symmetric<s8, per_channel<0>>;
  calibrate::min_max<per_channel<0>> seen;
  seen.observe(view(w));
  auto const p = choose_params<S>(seen.ranges());
  row_bytes want(9, 20);
  reference::quantize<S>(matrix_view<float const>(view(w)), p.view(), view(want));

  auto const codes = quantized(w, p);
  static_assert(static_cast<bool>(std::remove_cvref_t<decltype(codes)>::IsRowMajor) == static_cast<bool>(TestType::IsRowMajor));
  CHECK(codes == want);
  col_bytes other(9, 20);
  CHECK(quantize(w, p, other).saturated == 0);
  CHECK(other == want);
  col_bytes wide = col_bytes::Zero(12, 30);
  quantize(w, p, wide.block(1, 2, 9, 20));
  CHECK(wide.block(1, 2, 9, 20) == want);
  CHECK(wide.cast<int>().cwiseAbs().sum() == want.cast<int>().cwiseAbs().sum());
  row_bytes from_view(9, 20);
  quantize(view(w), p, from_view);
  CHECK(from_view == want);
  quantize<round_to::half_away, reciprocal>(w, p, other);
  CHECK(metric::report(w, p, want).error.sqnr_db() > 40);

  Eigen::VectorXf const v = Eigen::VectorXf::Random(40);
  params<asymmetric<u8>> const q = choose_params<asymmetric<u8>>(calibrate::range_of(v).range);
  Eigen::Matrix<std::uint8_t, Eigen::Dynamic, 1> v_codes(40);
  quantize(v, q, v_codes);
  CHECK(v_codes == quantized(v, q));
  Eigen::Matrix<std::uint8_t, 1, Eigen::Dynamic> row(40);
  quantize(v.transpose(), q, row);
  CHECK(row.transpose() == v_codes);
}

TEST_CASE("Eigen: codes come back, change their scale, and are found from the data's own range", "[eigen][convert]") {
  Eigen::MatrixXf const w = Eigen::MatrixXf::Random(6, 11);
  auto const p = choose_params<symmetric<s8>>(calibrate::range_of(w).range);
  auto const codes = quantized(w, p);
  Eigen::MatrixXf const back = dequantized(codes, p);
  CHECK(back == codes.cast<float>() * p.scale);
  row_floats rows(6, 11);
  dequantize(codes, p, rows);
  CHECK(rows == back);

  params<asymmetric<u8>> const coarse{2 * p.scale, 128};
  Eigen::Matrix<std::uint8_t, Eigen::Dynamic, Eigen::Dynamic> other(6, 11), want(6, 11);
  requantize(codes, p, coarse, other);
  reference::requantize<asymmetric<u8>, rescale::float_multiply<>>(matrix_view<std::int8_t const>(view(codes)), 0, rescale::float_multiply<>::from_real(0.5), 128, view(want));
  CHECK(other == want);

  col_bytes dynamic(6, 11);
  CHECK(dynamic_quantize<symmetric<s8>>(w, dynamic).quantized_with == p);
  CHECK(dynamic == codes);
}

TEST_CASE("Eigen: linear layers", "[eigen][linear]") {
  row_floats const x = row_floats::Random(8, 96), w = row_floats::Random(20, 96);  // weights output by output
  Eigen::VectorXf const bias = Eigen::VectorXf::Random(20);
  row_floats const exact = (x * w.transpose()).rowwise() + bias.transpose();
  auto const weights = quantize_linear_weights(w.transpose(), view(bias));
  row_floats y(8, 20), from_views(8, 20);
  auto const p = choose_params<asymmetric<s8>>(calibrate::range_of(x).range);
  CHECK(linear(x, p, weights, y) == conversion_counts{});
  CHECK(metric::compare(exact, y).sqnr_db() > 38);
  linear(view(x), p, weights, view(from_views));
  CHECK(y == from_views);
  dynamic_linear(x, weights, y);
  CHECK(metric::compare(exact, y).sqnr_db() > 38);
}

TEST_CASE("Eigen: groups run along a vector", "[eigen][quantize]") {
  Eigen::VectorXf const v = Eigen::VectorXf::Random(10);
  using S = symmetric<s4, per_group<4>>;
  calibrate::min_max<per_group<4>> seen;
  seen.observe(view(v));
  CHECK(seen.size() == 3);
  CHECK(quantized(v, choose_params<S>(seen.ranges())).cast<int>().cwiseAbs().maxCoeff() >= 7);
}

TEST_CASE("Eigen: gemm with any mixture of Eigen objects and views equals the reference", "[eigen][gemm]") {
  index_t const m = 5, k = 37, n = 19;
  col_bytes const x = (Eigen::MatrixXf::Random(m, k) * 127).cast<std::int8_t>(), w = (Eigen::MatrixXf::Random(k, n) * 127).cast<std::int8_t>();
  row_bytes const x_rows = x, w_outputs = w.transpose();
  using row_ints = Eigen::Matrix<std::int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  row_ints const want = x.cast<std::int32_t>() * w.cast<std::int32_t>();

  row_ints y(m, n);
  Eigen::MatrixXi z(m, n);
  gemm(x, pack(w), y);
  CHECK(y == want);
  gemm(x_rows, pack(w_outputs.transpose()), z);
  CHECK(z == want);
  z.setZero();
  gemm(x, w, z);
  CHECK(z == want);
  y.setZero();
  gemm(view(x), pack(w), y);
  CHECK(y == want);
  y.setZero();
  gemm(x, w, view(y));
  CHECK(y == want);
  row_ints big = row_ints::Zero(m + 2, n + 3);
  gemm(x.topRows(3), pack(w), big.block(1, 1, 3, n));
  CHECK(big.block(1, 1, 3, n) == want.topRows(3));
  CHECK(big.row(4).isZero());

  Eigen::VectorXf const scales = Eigen::VectorXf::Random(n).cwiseAbs();
  Eigen::VectorXf const bias = Eigen::VectorXf::Random(n);
  Eigen::MatrixXf real(m, n);
  gemm(x, pack(w), real, epilogue<to_real>{.rescale = {.cols = view(scales), .bias = view(bias)}});
  float const one = 1;
  std::int32_t const zero = 0;
  row_floats real_want(m, n);
  reference::gemm_to_real(matrix_view<std::int8_t const>(view(x)), vector_view<std::int32_t const>{&zero, m, 0}, matrix_view<std::int8_t const>(view(w)),
                          vector_view<std::int32_t const>{&zero, n, 0}, vector_view<float const>{&one, m, 0}, vector_view<float const>(view(scales)),
                          vector_view<float const>(view(bias)), view(real_want));
  CHECK(real == real_want);
  CHECK(metric::compare(real_want, real).noise == 0);

  Eigen::Matrix<std::int8_t, 1, Eigen::Dynamic> one_row = x.row(0);
  Eigen::RowVectorXi one_result(n);
  gemm(one_row, pack(w), one_result);
  CHECK(one_result == want.row(0));
  CHECK(message([&] { gemm(x, pack(w), one_result); }).find("dst must be 5 x 19") != std::string::npos);
}
