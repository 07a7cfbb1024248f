#include <quern/compress/adam8.hpp>
#include <quern/compress/eigen.hpp>
#include <quern/compress/outliers.hpp>
#include <quern/eigen/operations.hpp>
#include <quern/eigen/tensor.hpp>
#include <quern/quern.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace quern;

namespace {

using floats = Eigen::MatrixXf;
using row_floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using list = Eigen::VectorXf;
using ints = Eigen::MatrixXi;
using codes8 = Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using list8 = Eigen::Matrix<std::int8_t, Eigen::Dynamic, 1>;
using bytes = Eigen::Matrix<std::uint8_t, Eigen::Dynamic, 1>;
template <class T, int Rank>
using tensor = Eigen::Tensor<T, Rank, Eigen::RowMajor>;

/// -n, ..., n over and over, for anything with data() and size().
template <class M>
M filled(M m, int n = 100) {
  for (index_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<std::remove_reference_t<decltype(m.data()[0])>>(i * 37 % (2 * n + 1) - n);
  return m;
}
template <class M>
bool equal(M const& a, M const& b) {
  bool all = a.size() == b.size();
  for (index_t i = 0; all && i < a.size(); ++i) all = a.data()[i] == b.data()[i];
  return all;
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

layer_params const layer{.src = {0.5f, 3}, .weight_scale = 0.02f, .dst = {0.5f, -4}};

}  // namespace

TEST_CASE("Eigen tensors of either order are seen where they are", "[eigen][tensor]") {
  Eigen::Tensor<float, 4, Eigen::RowMajor> rows(2, 3, 4, 5);
  Eigen::Tensor<float, 4> cols(2, 3, 4, 5);
  float value = 0;
  for (int b = 0; b < 2; ++b)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 4; ++x)
        for (int c = 0; c < 5; ++c) rows(b, y, x, c) = cols(b, y, x, c) = value++;
  CHECK(view(rows).contiguous());
  bool same = true;
  for (int b = 0; b < 2; ++b)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 4; ++x)
        for (int c = 0; c < 5; ++c) {
          same = same && &view(rows)(b, y, x, c) == &rows(b, y, x, c);
          same = same && &view(cols)(b, y, x, c) == &cols(b, y, x, c);
        }
  CHECK(same);
  calibrate::min_max<per_channel<3>> from_rows, from_cols;
  from_rows.observe(view(rows));
  from_cols.observe(view(cols));
  for (index_t c = 0; c < 5; ++c) {
    CHECK(from_rows.range(c) == real_range{static_cast<float>(c), static_cast<float>(115 + c)});
    CHECK(from_cols.range(c) == from_rows.range(c));
  }
  Eigen::Tensor<float, 4, Eigen::RowMajor> const& constant = rows;
  static_assert(std::is_same_v<decltype(view(constant)), tensor_view<float const>>);
}

TEST_CASE("Eigen TensorMaps, low ranks, and the way back", "[eigen][tensor]") {
  float x[24];
  for (int i = 0; i < 24; ++i) x[i] = static_cast<float>(i);
  Eigen::TensorMap<Eigen::Tensor<float, 4, Eigen::RowMajor>> map(x, 1, 2, 4, 3);
  CHECK(&view(map)(0, 1, 2, 1) == &x[19]);
  Eigen::TensorMap<Eigen::Tensor<float const, 2>> matrix(x, 4, 6);
  CHECK(view(matrix)(1, 2) == 9);
  Eigen::TensorMap<Eigen::Tensor<float, 1>> vector(x, 24);
  CHECK(view(vector).size == 24);
  auto back = as_tensor(nhwc(x, 1, 2, 4, 3));
  CHECK(back(0, 1, 2, 1) == 19);
  back(0, 0, 0, 0) = 7;
  CHECK(x[0] == 7);
  CHECK_THROWS_AS(as_tensor(nchw(x, 1, 3, 2, 4)), error);
}

TEST_CASE("Eigen: convolutions of Tensors and TensorMaps are those of their views", "[eigen][tensor][conv]") {
  auto const x = filled(tensor<std::int8_t, 4>(2, 5, 6, 3)), w = filled(tensor<std::int8_t, 4>(4, 3, 3, 3));
  tensor<std::int8_t, 4> y(2, 5, 6, 4), want(2, 5, 6, 4);
  auto const packed_w = pack_conv(w, {.padding = quern::same});
  conv2d<convention::tflite>(nhwc(x.data(), 2, 5, 6, 3), packed_w, nhwc(want.data(), 2, 5, 6, 4), layer);
  conv2d<convention::tflite>(x, packed_w, y, {.src = {0.5f, 3}, .weight_scale = 0.02f, .dst = {0.5f, -4}});
  CHECK(equal(y, want));
  y.setZero();
  Eigen::TensorMap<tensor<std::int8_t const, 4>> const map(x.data(), 2, 5, 6, 3);
  Eigen::TensorMap<tensor<std::int8_t, 4>> to(y.data(), 2, 5, 6, 4);
  conv2d(map, packed_w, to, prepare_layer<convention::tflite>(layer, 4));
  CHECK(equal(y, want));
  y.setZero();
  conv2d<convention::tflite>(view(x), packed_w, y, layer, {.max_isa = isa::avx2});
  CHECK(equal(y, want));

  // Channels of a column-major tensor are not adjacent: the operation says so.
  Eigen::Tensor<std::int8_t, 4> const columns(2, 5, 6, 3);
  CHECK(message([&] { conv2d<convention::tflite>(columns, packed_w, y, layer); }) ==
        "conv: the channels of src are 60 elements apart; they must be adjacent (to_nhwc() copies NCHW).");
  // Where strides do not matter it is as good as another.
  Eigen::Tensor<std::int8_t, 4> swapped(2, 5, 6, 3);
  copy(x, swapped);
  tensor<std::int8_t, 4> back(2, 5, 6, 3);
  to_nhwc(swapped, back);
  CHECK(equal(back, x));

  max_pool2d(x, {.size = {2, 2}, .stride = {2, 2}}, back = tensor<std::int8_t, 4>(2, 2, 3, 3));
  CHECK(back(1, 1, 2, 0) == std::max({x(1, 2, 4, 0), x(1, 3, 4, 0), x(1, 2, 5, 0), x(1, 3, 5, 0)}));
}

TEST_CASE("Eigen: matrices of either order in a convention, and row and column vectors broadcast as Eigen would", "[eigen][convention]") {
  codes8 const x = filled(codes8(4, 7));
  Eigen::Matrix<std::int8_t, Eigen::Dynamic, Eigen::Dynamic> const w = filled(decltype(w)(7, 5));
  codes8 y(4, 5), want(4, 5);
  gemm<convention::onnx_runtime>(view(x), pack(view(w)), view(want), layer);
  gemm<convention::onnx_runtime>(x, pack(w), y, {.src = {0.5f, 3}, .weight_scale = 0.02f, .dst = {0.5f, -4}});
  CHECK(y == want);
  Eigen::Matrix<std::int8_t, 1, Eigen::Dynamic> const row = x.row(2);
  Eigen::Matrix<std::int8_t, 1, Eigen::Dynamic> one(5);
  gemm<convention::onnx_runtime>(row, pack(w), one, layer);  // a vector at compile time is a matrix where one is needed
  CHECK(one == want.row(2));

  codes8 sum(4, 7);
  convention::affine const p{0.5f, 0};
  add<convention::tflite>(x, p, row, p, sum, {1, 0});
  auto const half = [](int a, int b) { return (a + b + (a + b > 0)) >> 1; };  // ties away from zero
  CHECK(sum(1, 3) == half(x(1, 3), row(3)));
  list8 const column = x.col(5);
  add<convention::tflite>(x, {0.5f, 0}, column, {0.5f, 0}, sum, {1, 0});
  CHECK(sum(1, 3) == half(x(1, 3), column(1)));
  CHECK(message([&] { add<convention::tflite>(x, p, list8(column.head(3)), p, sum, p); }) != "no error");
}

TEST_CASE("Eigen: packed codes, observers, vectors", "[eigen]") {
  list const x = filled(list(11), 5);
  bytes four(6), want(6);
  params<symmetric<s4>> const p{0.75f};
  quantize(view(x), p, packed_view<s4>{want.data(), 11});
  CHECK(quantize(x, p, packed<s4>(four, 11)).saturated == 0);
  CHECK(four == want);
  list back(11);
  dequantize(packed<s4>(four, 11), p, back);
  CHECK((back - x).cwiseAbs().maxCoeff() <= 0.375f);
  list8 wide(11);
  unpack_codes(packed<s4>(four, 11), wide);
  four.setZero();
  pack_codes(wide, packed<s4>(four, 11));
  CHECK(four == want);
  CHECK(message([&] { (void)packed<s4>(four, 13); }) == "packed: 13 codes need 7 bytes, the Eigen object has 6.");
  Eigen::Map<bytes, 0, Eigen::InnerStride<2>> spread(four.data(), 3);
  CHECK(message([&] { (void)packed<s2>(spread, 12); }).find("not adjacent") != std::string::npos);

  floats const m = filled(floats(6, 8), 9);
  calibrate::min_max<per_channel<1>> columns;
  columns.observe(m);
  CHECK(columns.range(2).max == m.col(2).maxCoeff());
  calibrate::histogram h, same_h;
  h.observe(m);
  same_h.observe(view(m));
  CHECK(h.count() == same_h.count());
  calibrate::moving_average average;
  average.observe(m);  // in the order of memory
  CHECK(average.range() == calibrate::range_of(m).range);
  CHECK(message([&] { average.observe(m.topRows(3)); }) ==
        "observe: the strides of a batch of 3 x 8 are 1 and 6; it must be without gaps, or be given row by row.");
  h.observe(tensor<float, 4>(2, 3, 2, 5).setConstant(1.0f));
  CHECK(h.count() == 48 + 60);
  CHECK(message([&] { h.observe(Eigen::Tensor<float, 4>(2, 3, 2, 5)); }) == "observe: a tensor as batch must be NHWC without gaps; pass its parts.");

  codes8 const corpus = filled(codes8(9, 16));
  list8 const query = corpus.row(4);
  Eigen::VectorXi scores_of(9);
  dot_each(query, corpus, scores_of);
  CHECK(scores_of == corpus.cast<int>() * query.cast<int>());
  CHECK(dot(query, corpus.row(2)) == scores_of(2));
  vector_set<std::int8_t> const set{view(corpus)};
  list real_scores(9);
  scores(similarity::dot, query, vector_encoding{}, set, real_scores);
  CHECK(real_scores == scores_of.cast<float>());
  CHECK(metric::max_error(real_scores, real_scores) == 0);
}

TEST_CASE("Eigen: compress takes what its views take", "[eigen][compress]") {
  floats const w = floats::Random(5, 8);
  auto const a = compress::round_to_nearest(w, {.bits = 4, .group = 4}), b = compress::round_to_nearest(view(w), {.bits = 4, .group = 4});
  floats one(5, 8), other(5, 8);
  compress::dequantize(a, one);
  compress::dequantize(b, view(other));
  CHECK(one == other);
  CHECK((one - w).cwiseAbs().maxCoeff() < 0.1f);
}

// Everything else is called in an unevaluated operand, which costs nothing: it takes these arguments, and passes views.
namespace {

[[maybe_unused]] void every_operation_takes_eigen_objects() {
  floats x, y;
  list v, u;
  codes8 x8, y8;
  list8 v8, o8;
  ints y32;
  Eigen::VectorXi u32;
  tensor<std::int8_t, 4> t8, f8, r8;
  tensor<std::int16_t, 4> t16, r16;
  tensor<std::int32_t, 4> r32;
  tensor<std::int8_t, 5> volume, volumes;
  tensor<std::int8_t, 3> batch, batches;
  tensor<float, 4> t, r;
  packed_matrix<std::int8_t> const w;
  packed_conv<std::int8_t> const cw;
  packed_depthwise<std::int8_t> const dw;
  packed_conv16 const w16;
  convention::affine const p;
  using tfl = convention::tflite;
  using asym = asymmetric<s8>;
  params<asym> const q;
  auto const f = [](std::int32_t i) { return i; };
  auto const sum = [](std::int32_t i, std::int32_t j) { return i + j; };

  std::vector<double> doubles;
  vector_set<std::int8_t> const set;
  vector_encoding const encoding;
  Eigen::Matrix<neighbour, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> found;

  static_assert(requires {
    pack<s4>(x8);
    pack(x8, {.group = 4});
    pack_into(nullptr, 0, x8);
    gemm_plan(x8, w, y32);
    gemm_workspace(x8, w, y32, {.lhs_zero_point = 1});
    batch_matmul<tfl>(x8, p, batch, p, batches, p);
    quantize_linear_weights(x);
    quantize_linear_weights(x, v);
    quantize_linear_weights<s4>(x, v, {.group = 32});
    linear(x, q, linear_weights<std::int8_t>{}, y);
    linear(x8, {0.5f, 0}, linear_weights<std::int8_t>{}, y8, {0.5f, 0});
    dynamic_linear(x, linear_weights<std::int8_t>{}, y, {});
  });
  static_assert(requires {
    pack_conv(f8);
    pack_transposed_conv(f8, {.stride = {2, 2}});
    pack_depthwise(f8);
    pack_conv16(f8);
    pack_depthwise16(f8, {});
    conv3d(volume, cw, volumes);
    transposed_conv2d<tfl>(t8, cw, r8, {.src = {1, 0}});
    depthwise_conv2d<tfl>(t8, dw, r8, {.src = {1, 0}}, {});
    depthwise_conv2d(t8, dw, r32);
    conv_workspace(t8, cw, r32);
    transposed_conv_workspace(t8, cw, r32);
    depthwise_workspace(t8, dw, r32, {.lhs_zero_point = 1});
    conv2d_16x8(t16, w16, r16, wide_output<>{});
    depthwise_16x8(t16, w16, r16, wide_output<>{}, {});
    transposed_conv2d_16x8(t16, w16, r16, wide_output<>{});
  });
  static_assert(requires {
    quantize_as<tfl, u8>(v, {0.5f, 3}, bytes{});
    quantize_as<tfl, s8>(v, p, v8);
    dequantize_as<tfl>(v8, {0.5f, 3}, v);
    mul<tfl>(x8, p, x8.row(0), p, y8, p);
    average_pool2d(t8, {.size = {2, 2}}, r8);
    average_pool2d<tfl>(t8, p, {.size = {2, 2}}, r8, p);
    global_average_pool(t8, r8);
    global_average_pool<tfl>(t8, {1, 0}, r8, {1, 0});
    global_max_pool(t8, r8);
    unary(x8, y8, f);
    binary(x8, v8, y8, sum);
    apply(byte_table<std::int8_t, std::int8_t>{}, v8, o8);
    reduce(x8, 1u, y8, f);
    by_rows(t8, r8, f);
    fill(y8, std::int8_t{1});
    pad_tensor(x8, static_cast<index_t const*>(nullptr), std::int8_t{0}, y8);
    place(x8, 0, 0, y8);
    space_to_depth(t8, 2, r8);
    depth_to_space(t8, 2, r8);
    lstm(batch, packed_lstm<std::int8_t, convention::cmsis_nn>{}, batches);
    resize_nearest(t8, r8);
    resize_bilinear(t8, r8, {});
  });
  static_assert(requires {
    squared_l2(v8, o8);
    cosine(v8, x8.row(0), {});
    squared_l2_each(v8, x8, u32, {});
    encoding_of(v8);
    encode(v, v8);
    encode(v, params<symmetric<s8>>{}, v8);
    score(similarity::dot, v8, encoding, o8, encoding);
    scores(similarity::dot, v, set, u);
    search(similarity::dot, set, set, 3, found, {});
  });
  static_assert(requires {
    onnx::quantize_linear<s8>(x, v, v8, y8, {.axis = 0});
    onnx::dequantize_linear(x8, v, v8, y);
    onnx::dynamic_quantize_linear(v, bytes{});
    onnx::cast<s8>(x, y8);
    onnx::matmul_integer(x8, 0, x8, 0, y32);
    onnx::qlinear_matmul(x8, {0.5f, 0}, x8, {0.5f, 0}, {0.5f, 0}, y8);
    onnx::conv_integer(t8, 0, f8, 0, r32, {.padding = quern::same});
    onnx::qlinear_conv(t8, p, f8, {0.5f, 0}, p, {}, r8);
    onnx::qlinear_conv(t8, p, f8, {0.5f, 0}, p, u32, r8, {});
    onnx::com_microsoft::qgemm(x8, p, x8, {0.5f, 0}, u32, p, y8);
    onnx::com_microsoft::qgemm(x8, p, x8, {0.5f, 0}, {}, y);
    onnx::com_microsoft::qlinear_add(x8, p, x8, p, p, y8);
    onnx::com_microsoft::qlinear_mul(x8, p, x8, p, p, y8);
    onnx::com_microsoft::qlinear_sigmoid(x8, {0.5f, 0}, {0.5f, 0}, y8);
    onnx::com_microsoft::qlinear_leaky_relu(x8, p, 0.1f, p, y8);
    onnx::com_microsoft::qlinear_softmax(x8, p, p, y8);
    onnx::com_microsoft::qlinear_global_average_pool(t8, p, p, r8);
    onnx::com_microsoft::qlinear_average_pool(t8, p, {.size = {2, 2}}, p, r8);
    onnx::com_microsoft::dynamic_quantize_matmul(x, w, {0.5f, 0}, v, y);
    onnx::com_microsoft::matmul_integer_to_float(x8, p, w, {0.5f, 0}, {}, y);
    onnx::com_microsoft::matmul_nbits(x, onnx::com_microsoft::n_bit_weights<4>{}, v, y);
    onnx::com_microsoft::matmul_nbits_int8(x, onnx::com_microsoft::n_bit_weights<4>{}, {}, y);
  });
  static_assert(requires {
    pytorch::quantize_per_tensor<s8>(x, 0.5, 0, y8);
    pytorch::quantize_per_channel<s8>(x, Eigen::VectorXd{}, Eigen::Matrix<std::int64_t, Eigen::Dynamic, 1>{}, 0, y8);
    pytorch::dequantize(x8, 0.5, 0, y);
    pytorch::fake_quantize_per_tensor_affine(x, 0.5, 0, -128, 127, y);
    pytorch::fake_quantize_per_channel_affine(x, v, u32, 0, -128, 127, y);
    pytorch::fake_quantize_backward(v, nullptr, u);
    pytorch::fake_quantize_learnable_backward(v, v, 0.5f, 0.0f, -128, 127, 1.0f, u);
    pytorch::add(x8, p, x8, p, y8, p, true);
    pytorch::mul(x8, {0.5f, 0}, x8, p, y8, p);
    pytorch::quantize_bias(v, 0.5f, {});
    pytorch::linear(x8, p, x8, {}, v, y8, p);
    pytorch::conv1d(batch, p, batch, {}, v, batches, p);
    pytorch::conv2d(t8, p, f8, {}, {}, r8, p, {.stride = {2, 2}});
    pytorch::conv3d(volume, p, volume, {}, v, volumes, p, {});
    tflite::quantize<s8>(x, {0.5f, 0}, y8);
    tflite::quantize<s8>(x, {0.5f, 0}, 0, y8);
    tflite::dequantize(x8, {0.5f, 0}, y);
    tflite::requantize(x8, p, y8, p);
    tvm::quantize<s8>(x, p, y8);
    tvm::dequantize(x8, p, y);
    tvm::requantize(x8, p, y8, p);
    tvm::add(x8, p, x8, p, y8, p);
    tvm::mul(x8, p, x8, p, y8, p);
    tvm::dense(x8, 0, x8, 0, y32);
    tvm::conv2d(t8, 0, f8, 0, r32, {});
  });
  static_assert(requires {
    codec::mx_scale_of<codec::float4_e2m1>(v);
    codec::mx_encode<codec::float4_e2m1>(v, bytes{});
    codec::mx_decode<codec::float4_e2m1>(codec::float8_e8m0{}, bytes{}, v);
    codec::nf4_encode(v, bytes{});
    codec::nf4_decode(1.0f, bytes{}, v);
    codec::nvfp4_tensor_scale(v);
    codec::nvfp4_encode(v, 1.0f, bytes{});
    codec::nvfp4_decode(codec::float8_e4m3fn{}, 1.0f, bytes{}, v);
    calibrate::extremes(v);
    calibrate::measure(v, calibrate::code_facts{}, {0.5f, 0});
    calibrate::recommend<asym>(v);
    calibrate::recommend<asym>(calibrate::histogram{}, v);
    metric::mse(x, y);
    metric::sqnr_db(v, view(u));
    metric::cosine(v, u);
    metric::report(x, q, x8);
    train::fold_batch_norm(x, v, {});
    train::fold_for_training(train::batch_norm{}, v, v, v);
    train::update_running(v, u);
    train::fake_quantize(x, q, y);
    train::straight_through(v, u);
    train::clipped(v, q, v, u);
    train::lsq(v, q, v, u);
    train::power_of_two_threshold(v, params<power_of_two<s8>>{}, v, u);
    train::pact(v, 1.0f, v, u);
    train::learned_range(v, {-1, 1}, v, u);
    train::inject_noise(v, q, u, 1);
    train::quantize_some(v, q, u, 0.5, 1);
  });
  static_assert(requires(calibrate::robust_min_max robust, calibrate::absolute_histogram absolute, calibrate::torch_histogram torch,
                         calibrate::per_channel_observer<calibrate::histogram> each, compress::hessian hessian, compress::adam8 adam,
                         compress::split_linear split) {
    robust.observe(v);
    absolute.observe(x);
    torch.observe(t);
    each.observe_rows(x);
    each.observe_columns(x);
    each.observe_channels(t);
    hessian.add(x);
    adam.step(x, y);
    compress::split_linear(x, v);
    split.run(x, y);
  });
  static_assert(requires(compress::row_major_matrix h, compress::quantized_weights qw) {
    compress::project_to_accumulator(x, {}, {}, 16);
    compress::choose_width(v, 40.0);
    compress::adaround(x, h, {.bits = 4});
    compress::awq(x, v, h, {.bits = 4}, {});
    compress::expected_inputs(v, v);
    compress::column_means(x);
    compress::correct_bias(x, qw, v, u);
    compress::linear_bound(x, x, v, doubles);
    compress::conv_bound(t, t, t, doubles, {});
    compress::add_moved(doubles, v, v);
    compress::worst_case_bound(x, x, v, v);
    compress::hoeffding_bound(x, v, 0.01);
    compress::certify_argmax(v, doubles);
    compress::k_means(v, 4);
    compress::quantize_with_codebooks(x, 16);
    compress::absorb_bias(v, x, u, v, v);
    compress::refit_scales(x, h, qw);
    compress::gptq(x, h, {.bits = 4}, {});
    compress::hadamard(v);
    compress::hadamard(u32, {});
    compress::random_signs(v, 1);
    compress::rotate_rows(x, 1);
    compress::rotate_rows_back(x, 1, {});
    compress::copy_of(x);
    compress::output_error(x, qw, h);
    compress::hqq(x, {.bits = 4});
    compress::squared_error(x, qw);
    compress::round_to_nearest(x, {.bits = 4});
    compress::output_kl(x, y);
    compress::output_kl(v, u);
    compress::smooth_scales(v, x, {});
    compress::scale_columns(x, v);
    compress::divide_rows(x, v, u);
    compress::choose_group(v, {});
    compress::best_group(v, {}, 0.5f, v);
  });
}

}  // namespace
