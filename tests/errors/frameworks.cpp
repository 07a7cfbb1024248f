// What the frameworks' operators refuse beside what their own rooms' tests show.
#include "refusal.hpp"

#include <quern/ops/conv16x8.hpp>
#include <quern/ops/onnx.hpp>
#include <quern/ops/pytorch.hpp>
#include <quern/ops/tflite.hpp>
#include <quern/ops/tvm.hpp>

#include <cmath>
#include <cstdint>

using namespace quern;

namespace {

// What every case reads and none may write.
float x[24];
std::int8_t q[24];
std::uint8_t u[24];
std::int16_t wide[24];
std::int32_t sums[24];
float floats[24];
nd_view<float const> in(shape const& s) { return nd<float const>(x, s); }
nd_view<std::int8_t const> codes(shape const& s) { return nd<std::int8_t const>(q, s); }
nd_view<std::int8_t> out(shape const& s) { return nd(q, s); }
nd_view<float> reals(shape const& s) { return nd(floats, s); }
nd_view<std::int8_t const> const no_zeros{};

bool untouched() {
  bool zero = true;
  for (int i = 0; i < 24; ++i) zero &= q[i] == 0 && u[i] == 0 && wide[i] == 0 && sums[i] == 0 && floats[i] == 0;
  return zero;
}

auto const square = make_shape(4, 4);
auto const flat = make_shape(16);

}  // namespace

TEST_CASE("ONNX: shapes, axes, blocks, scales and memory", "[errors][onnx]") {
  float const one[4] = {1, 1, 1, 1}, bad[4] = {1, 1, -1, 1};
  std::int8_t const zeros[4] = {};
  auto const scale = nd<float const>(one, make_shape(1)), scales = nd<float const>(one, make_shape(4));
  auto const quantize = [&](auto from, auto s, auto zero, auto to, onnx::quantize_attributes a) { onnx::quantize_linear<s8>(from, s, zero, to, a); };
  refuses(errc::shape, "x and y must have the same shape", [&] { quantize(in(square), scale, no_zeros, out(flat), {}); });
  auto gaps = in(square);
  gaps.stride[0] = 5;
  refuses(errc::shape, "row-major without gaps", [&] { quantize(gaps, scale, no_zeros, out(square), {}); });
  refuses(errc::shape, "there are 4 scales and 1 zero points", [&] { quantize(in(square), scales, nd<std::int8_t const>(zeros, make_shape(1)), out(square), {}); });
  refuses(errc::null, "the scale is null", [&] { quantize(in(square), nd<float const>(nullptr, make_shape(1)), no_zeros, out(square), {}); });
  refuses(errc::null, "x is null", [&] { quantize(nd<float const>(nullptr, square), scale, no_zeros, out(square), {}); });
  refuses(errc::argument, "axis is 2, but x has rank 2", [&] { quantize(in(square), scales, no_zeros, out(square), {.axis = 2}); });
  refuses(errc::argument, "axis is -5", [&] { quantize(in(square), scales, no_zeros, out(square), {.axis = -5, .block_size = 2}); });
  refuses(errc::argument, "block_size is -1", [&] { quantize(in(square), scales, no_zeros, out(square), {.axis = 0, .block_size = -1}); });
  refuses(errc::shape, "there are 4 scales, and axis 1 has size 2", [&] { quantize(in(make_shape(4, 2)), scales, no_zeros, out(make_shape(4, 2)), {}); });
  refuses(errc::shape, "with block_size 2 the scales", [&] { quantize(in(square), scales, no_zeros, out(square), {.axis = 1, .block_size = 2}); });
  refuses(errc::scale, "scale 2 is -1", [&] { quantize(in(square), nd<float const>(bad, make_shape(4)), no_zeros, out(square), {}); });
  refuses(errc::shape, "DynamicQuantizeLinear: x has 16 elements, y 4", [&] { onnx::dynamic_quantize_linear(in(square), nd(u, make_shape(4))); });
  refuses(errc::shape, "Cast: x and y", [&] { onnx::cast<s8>(in(square), out(flat)); });
  refuses(errc::null, "Cast: x is null", [&] { onnx::cast<s8>(nd<float const>(nullptr, square), out(square)); });

  refuses(errc::shape, "both operands must have a dimension", [&] { onnx::matmul_integer(codes(make_shape()), 0, codes(square), 0, nd(sums, make_shape(4))); });
  refuses(errc::shape, "a has 4 columns, b 2 rows", [&] { onnx::matmul_integer(codes(square), 0, codes(make_shape(2, 4)), 0, nd(sums, square)); });
  refuses(errc::shape, "y has 8 elements; the product has 16", [&] { onnx::matmul_integer(codes(square), 0, codes(square), 0, nd(sums, make_shape(2, 4))); });
  refuses(errc::null, "an operand is null", [&] { onnx::matmul_integer(nd<std::int8_t const>(nullptr, square), 0, codes(square), 0, nd(sums, square)); });
  refuses(errc::shape, "ranks 2, 4 and 4", [&] { onnx::conv_integer(codes(square), 0, codes(make_shape(1, 1, 1, 1)), 0, nd(sums, make_shape(1, 1, 4, 4))); });
  refuses(errc::null, "an operand is null", [&] { onnx::conv_integer(nd<std::int8_t const>(nullptr, make_shape(1, 1, 4, 4)), 0, codes(make_shape(1, 1, 1, 1)), 0, nd(sums, make_shape(1, 1, 4, 4))); });

  convention::affine const p{1.0f, 0};
  float const few[] = {1, 1, 0, 1};
  std::int32_t const beyond[] = {0, 128, 0, 0};
  refuses(errc::shape, "a has 3 scales; there must be one, or 4", [&] { onnx::qlinear_matmul(codes(square), {vector_view<float const>{few, 3, 1}}, codes(square), {}, p, out(square)); });
  refuses(errc::scale, "scale 2 of a is 0", [&] { onnx::qlinear_matmul(codes(square), {vector_view<float const>{few, 4, 1}}, codes(square), {}, p, out(square)); });
  refuses(errc::zero_point, "zero_point 1 of a is 128", [&] { onnx::qlinear_matmul(codes(square), {1.0f, vector_view<std::int32_t const>{beyond, 4, 1}}, codes(square), {}, p, out(square)); });
  auto const four = nd<std::int8_t const>(q, square);
  for (convention::affine const wrong : {convention::affine{1.0f, 128}, {1.0f, -129}}) {
    refuses(errc::zero_point, "add: the zero point of b is", [&] { add<convention::onnx>(four, p, four, wrong, nd(q, square), p); });
    refuses(errc::zero_point, "mul: the zero point of dst is", [&] { mul<convention::pytorch>(four, p, four, p, nd(q, square), wrong); });
    refuses(errc::zero_point, "average_pool2d: the zero point of src is", [&] { global_average_pool<convention::xnnpack>(nhwc<std::int8_t const>(q, 1, 2, 2, 3), wrong, nhwc(q, 1, 1, 1, 3), p); });
    refuses(errc::zero_point, "QLinearSigmoid: the zero point of y is", [&] { onnx::com_microsoft::qlinear_sigmoid(four, p, wrong, nd(q, square)); });
    refuses(errc::zero_point, "QLinearSoftmax: the zero point of y is", [&] { onnx::com_microsoft::qlinear_softmax(row_major<std::int8_t const>(q, 2, 3), p, wrong, row_major(q, 2, 3)); });
    refuses(errc::zero_point, "requantize: the zero point of x is", [&] { tvm::requantize(four, wrong, nd(q, square), p); });
    refuses(errc::zero_point, "requantize: the zero point of y is", [&] { tflite::requantize(four, p, nd(q, square), wrong); });
  }
  for (float const s : {0.0f, -1.0f, NAN, INFINITY}) {
    refuses(errc::scale, "add: the scale of a is", [&] { add<convention::tflite>(four, {s, 0}, four, p, nd(q, square), p); });
    refuses(errc::scale, "mul: the scale of dst is", [&] { mul<convention::onnx_runtime>(four, p, four, p, nd(q, square), {s, 0}); });
    refuses(errc::scale, "QLinearLeakyRelu: the scale of x is", [&] { onnx::com_microsoft::qlinear_leaky_relu(four, {s, 0}, 0.1f, p, nd(q, square)); });
    refuses(errc::scale, "QLinearAveragePool: the scale of x is", [&] { onnx::com_microsoft::qlinear_average_pool(nhwc<std::int8_t const>(q, 1, 2, 2, 3), {s, 0}, {}, p, nhwc(q, 1, 2, 2, 3)); });
  }
  using f8 = codec::float8_e4m3fn;
  f8 small[16];
  auto const eighths = nd<f8 const>(small, square);
  refuses(errc::zero_point, "zero_point 0 of b is 1; it must be 0 to 0", [&] { onnx::qlinear_matmul(eighths, {}, eighths, {1.0f, 1}, p, nd(small, square)); });
  refuses(errc::scale, "scale 0 of y is 0", [&] { onnx::qlinear_matmul(eighths, {}, eighths, {}, {0.0f, 0}, nd(small, square)); });
  f8 const some = f8(0.5f);
  std::int32_t const one_step = 1;
  refuses(errc::zero_point, "QuantizeLinear: zero_point 0 is 5e-1; codes of this type have none", [&] { onnx::quantize_linear<f8>(in(square), nd<float const>(few, make_shape()), nd(&some, make_shape()), nd(small, square)); });
  refuses(errc::zero_point, "DequantizeLinear: zero_point 0 is 5e-1; codes of this type have none", [&] { onnx::dequantize_linear(eighths, nd<float const>(few, make_shape()), nd(&some, make_shape()), reals(square)); });
  refuses(errc::zero_point, "DequantizeLinear: zero_point 0 is 1; codes of this type have none", [&] { onnx::dequantize_linear(nd<std::int32_t const>(sums, square), nd<float const>(few, make_shape()), nd(&one_step, make_shape()), reals(square)); });
  refuses(errc::scale, "scale 0 is 0; it must be finite and not 0", [&] { onnx::dequantize_linear(codes(square), nd<float const>(few + 2, make_shape()), no_zeros, reals(square)); });
  refuses(errc::null, "DynamicQuantizeLinear: x is null", [&] { onnx::dynamic_quantize_linear(nd<float const>(nullptr, square), nd(u, square)); });
  refuses(errc::shape, "the padding is as large as the window", [&] {
    onnx::com_microsoft::qlinear_average_pool(nhwc<std::int8_t const>(q, 1, 2, 2, 3), p, {.size = {1, 1, 1}, .padding = {padding_rule::given, 1, 1, 1, 1}}, p, nhwc(q, 1, 4, 4, 1));
  });
  auto const image = nhwc<std::int8_t const>(q, 1, 2, 2, 3);
  refuses(errc::shape, "QLinearSoftmax: x is 2 x 3, y 2 x 4", [&] { onnx::com_microsoft::qlinear_softmax(row_major<std::int8_t const>(q, 2, 3), p, p, row_major(q, 2, 4)); });
  refuses(errc::null, "QLinearSoftmax: x is null", [&] { onnx::com_microsoft::qlinear_softmax(row_major<std::int8_t const>(nullptr, 2, 3), p, p, row_major(q, 2, 3)); });
  refuses(errc::shape, "y is 1 x 1 x 2 x 3", [&] { onnx::com_microsoft::qlinear_global_average_pool(image, p, p, nhwc(q, 1, 1, 2, 3)); });
  refuses(errc::null, "QLinearGlobalAveragePool: y is null", [&] { onnx::com_microsoft::qlinear_global_average_pool(image, p, p, nhwc<std::int8_t>(nullptr, 1, 1, 1, 3)); });
  refuses(errc::shape, "QLinearAveragePool: y is", [&] { onnx::com_microsoft::qlinear_average_pool(image, p, {}, p, nhwc(q, 1, 1, 2, 3)); });
  refuses(errc::null, "QLinearAveragePool: y is null", [&] { onnx::com_microsoft::qlinear_average_pool(image, p, {}, p, nhwc<std::int8_t>(nullptr, 1, 2, 2, 3)); });

  onnx::com_microsoft::n_bit_weights<4> w{.n = 2, .k = 4, .block = 4, .codes = u, .scales = x};
  auto const a = row_major<float const>(x, 2, 4);
  auto const y = row_major(floats, 2, 2);
  for (auto const multiply : {&onnx::com_microsoft::matmul_nbits<4>, &onnx::com_microsoft::matmul_nbits_int8<4>}) {
    refuses(errc::shape, "a is 2 x 3, w 4 x 2", [&] { multiply(row_major<float const>(x, 2, 3), w, {}, y); });
    refuses(errc::shape, "bias has 3 elements; y has 2 columns", [&] { multiply(a, w, {x, 3, 1}, y); });
    refuses(errc::null, "an operand is null", [&] { multiply(a, w, {}, row_major<float>(nullptr, 2, 2)); });
    auto none = w;
    none.block = 0;
    refuses(errc::argument, "the block is 0", [&] { multiply(a, none, {}, y); });
    float const endless[] = {1.0f, INFINITY};
    auto bad = w;
    bad.scales = endless;
    refuses(errc::scale, "scale 1 is infinity", [&] { multiply(a, bad, {}, y); });
    std::int32_t const groups[] = {0, 0, 1, 0};
    auto indexed = w;
    indexed.group_index = groups;
    refuses(errc::argument, multiply == &onnx::com_microsoft::matmul_nbits<4> ? "group_index 2 is 1; it must be 0 to 0" : "group_index 2", [&] { multiply(a, indexed, {}, y); });
  }
  CHECK(untouched());
}

TEST_CASE("PyTorch, TFLite and TVM: shapes, scales and memory", "[errors][pytorch][tflite][tvm]") {
  convention::affine const p{1.0f, 0};
  bool mask[16];
  refuses(errc::shape, "quantize_per_tensor: x has 16 elements", [&] { pytorch::quantize_per_tensor<s8>(in(square), 1.0, 0, out(flat)); });
  refuses(errc::shape, "dequantize: q has 16", [&] { pytorch::dequantize(codes(square), 1.0, 0, reals(flat)); });
  refuses(errc::null, "dequantize_as: src is null", [&] { pytorch::dequantize(nd<std::int8_t const>(nullptr, square), 1.0, 0, reals(square)); });
  refuses(errc::shape, "fake_quantize: x has 16", [&] { pytorch::fake_quantize_per_tensor_affine(in(square), 1.0, 0, -128, 127, reals(flat)); });
  refuses(errc::argument, "zero_point is 200", [&] { pytorch::fake_quantize_per_tensor_affine(in(square), 1.0, 200, -128, 127, reals(square)); });
  refuses(errc::null, "fake_quantize: x is null", [&] { pytorch::fake_quantize_per_tensor_affine(nd<float const>(nullptr, square), 1.0, 0, -128, 127, reals(square)); });
  for (double bad : {0.0, -1.0, 1e-300, 1e300, static_cast<double>(NAN), static_cast<double>(INFINITY)})
    refuses(errc::scale, "fake_quantize: the scale is", [&] { pytorch::fake_quantize_per_tensor_affine(in(square), bad, 0, -128, 127, reals(square)); });
  float const scales[4] = {1, 1, 1, 0};
  x[0] = 5;  // the first channel would be written as 5 if the last one's scale were found later
  refuses(errc::scale, "the scale is 0", [&] { pytorch::fake_quantize_per_channel_affine(in(square), {scales, 4, 1}, {}, 0, -128, 127, reals(square)); });
  x[0] = 0;
  vector_view<float const> const dy{x, 16, 1};
  refuses(errc::shape, "dy has 16 elements, dx 15", [&] { pytorch::fake_quantize_backward(dy, mask, {floats, 15, 1}); });
  refuses(errc::null, "fake_quantize_backward: an operand is null", [&] { pytorch::fake_quantize_backward(dy, nullptr, {floats, 16, 1}); });
  auto const learn = [&](vector_view<float const> from, float scale, vector_view<float> dx) {
    (void)pytorch::fake_quantize_learnable_backward(from, dy, scale, 0.0f, -128, 127, 1.0f, dx);
  };
  refuses(errc::shape, "have 15, 16 and 16 elements", [&] { learn({x, 15, 1}, 1.0f, {floats, 16, 1}); });
  refuses(errc::null, "learnable_backward: an operand is null", [&] { learn({nullptr, 16, 1}, 1.0f, {floats, 16, 1}); });
  refuses(errc::scale, "the scale is 0", [&] { learn(dy, 0.0f, {floats, 16, 1}); });
  refuses(errc::shape, "quantize: x has 16", [&] { tflite::quantize<s8>(in(square), p, out(flat)); });
  refuses(errc::shape, "dequantize: x has 16", [&] { tflite::dequantize(codes(square), p, reals(flat)); });
  refuses(errc::shape, "quantize: x has 16", [&] { tvm::quantize<s8>(in(square), p, out(flat)); });
  refuses(errc::shape, "dequantize: x has 16", [&] { tvm::dequantize(codes(square), p, reals(flat)); });
  onnx::operand const channels{vector_view<float const>{scales, 4, 1}};
  refuses(errc::scale, "scale 3 of x is 0", [&] { tflite::quantize<s8>(in(square), channels, 0, out(square)); });
  refuses(errc::scale, "scale 3 of x is 0", [&] { tvm::requantize(codes(square), channels, 1, out(square), p); });
  refuses(errc::argument, "axis is 2, but x has rank 2", [&] { tvm::quantize<s8>(in(square), channels, 2, out(square)); });
  refuses(errc::shape, "x has 4 scales; there must be one, or 8", [&] { tflite::dequantize(codes(make_shape(2, 8)), channels, 1, reals(make_shape(2, 8))); });
  refuses(errc::scale, "dequantize_as: the scale is -1", [&] { dequantize_as<convention::onnx>(vector_view<std::int8_t const>{q, 4, 1}, {-1.0f, 0}, vector_view<float>{floats, 4, 1}); });
  using c = convention::tflite;
  refuses(errc::shape, "quantize: src is 4 and dst is 5", [&] { quantize_as<c, s8>(vector_view<float const>{x, 4, 1}, p, vector_view<std::int8_t>{q, 5, 1}); });
  refuses(errc::null, "quantize: src is null", [&] { quantize_as<c, s8>(vector_view<float const>{nullptr, 4, 1}, p, vector_view<std::int8_t>{q, 4, 1}); });
  refuses(errc::shape, "dequantize_as: src has 4 elements, dst 5", [&] { dequantize_as<c>(vector_view<std::int8_t const>{q, 4, 1}, p, vector_view<float>{floats, 5, 1}); });
  CHECK(untouched());
}

TEST_CASE("int16 convolutions: weights of another kind, shapes, memory", "[errors][conv]") {
  auto const src = nhwc<std::int16_t const>(wide, 1, 2, 2, 2);
  auto const dst = nhwc(wide, 1, 2, 2, 2);
  auto const filter = nhwc<std::int8_t const>(q, 2, 1, 1, 2), taps = nhwc<std::int8_t const>(q, 1, 1, 1, 2);
  refuses(errc::shape, "the weights are null or empty", [&] { (void)pack_conv16(nhwc<std::int8_t const>(nullptr, 2, 1, 1, 2)); });
  refuses(errc::shape, "must be 1 x H x W x O", [&] { (void)pack_depthwise16(filter); });
  auto const packed = pack_conv16(filter), turned = pack_conv16(filter, {}, true), deep = pack_depthwise16(taps);
  wide_output<rescale::tflite_s64, std::int64_t> const none{};
  auto const rescale = rescale::tflite_s64::from_real(0.5);
  wide_output<rescale::tflite_s64, std::int64_t> const output{.rescale = &rescale};
  refuses(errc::argument, "packed for another kind", [&] { conv2d_16x8(src, deep, dst, output); });
  refuses(errc::null, "output.rescale is null", [&] { conv2d_16x8(src, packed, nhwc(wide + 12, 1, 2, 2, 2), none); });
  refuses(errc::argument, "not packed by pack_depthwise16", [&] { depthwise_16x8(src, packed, dst, output); });
  refuses(errc::shape, "src has 3 channels, the weights 2 outputs", [&] { depthwise_16x8(nhwc<std::int16_t const>(wide, 1, 2, 2, 3), deep, dst, output); });
  refuses(errc::shape, "dst is 1 x 2 x 2; it must be 2 x 2 x 2", [&] { depthwise_16x8(src, deep, nhwc(wide, 1, 1, 2, 2), output); });
  refuses(errc::shape, "channels of src must be adjacent", [&] { depthwise_16x8(nchw<std::int16_t const>(wide, 1, 2, 2, 2), deep, dst, output); });
  refuses(errc::null, "depthwise_16x8: an operand is null", [&] { depthwise_16x8(src, deep, dst, none); });
  refuses(errc::argument, "were not packed for it", [&] { transposed_conv2d_16x8(src, packed, dst, output); });
  static_cast<void>(turned);
  CHECK(untouched());
}
