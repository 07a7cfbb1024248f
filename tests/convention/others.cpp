// PyTorch, FBGEMM, XNNPACK, TVM, TensorRT, Vitis AI: the vectors of their specification, and what all conventions share.
#include "support/catch.hpp"
#include "support/exact.hpp"

#include <quern/convention/conventions.hpp>
#include <quern/core/reals.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

using namespace quern;
using namespace quern::convention;

namespace {
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

/// A check without Catch2's machinery: the generic tests are instantiated once a convention, and it would take 8 s to compile.
void expect_of(char const* name, bool ok, char const* what) {
  if (!ok) FAIL_CHECK(name << ": " << what);
}

bool is(scale_zero_point p, double scale, int zero_point) { return p.scale == static_cast<float>(scale) && p.zero_point == zero_point; }
}  // namespace

TEST_CASE("FBGEMM's ChooseQuantizationParams: the specification's ranges", "[convention][fbgemm]") {
  auto const p = [](float a, float b, fbgemm_options o = {}) { return fbgemm::choose_quantization_params(a, b, 0, 255, o); };
  fbgemm_options const sparse{.preserve_sparsity = true}, power{.force_power_of_two = true};
  CHECK(is(p(-1, 1), 0x1.010102p-7, 127));
  CHECK(is(p(-1, 1, sparse), 0x1.020408p-7, 128));
  CHECK(is(p(-1, 2, sparse), 0x1.020408p-6, 128));
  CHECK(is(p(0, 0), 0.1f, 0));
  CHECK(is(p(-.1f, 6), 0x1.87ee54p-6, 4));
  CHECK(is(p(-1e-6f, 2e-6f), 6.1e-5f, 85));
  CHECK(is(p(0, 1e-6f), 6.1e-5f, 0));
  CHECK(is(p(-1, 3, power), 0x1p-5, 32));
  CHECK(is(p(-100, 300, power), 2, 50));
  CHECK(is(p(1, 2), 0x1.010102p-7, 0));
  CHECK(is(fbgemm::choose_quantization_params(-2, 2, -128, 127, sparse), 0x1.020408p-6, 0));
}

TEST_CASE("FBGEMM's quantize multiplies by the reciprocal; NaN is the highest code", "[convention][fbgemm]") {
  static_assert(fbgemm::quantize<u8>(.273939937f, {.00214854861f, 0}) == 128);
  CHECK(fbgemm::quantize<s8>(nan_value, {1, 0}) == 127);
  CHECK(fbgemm::quantize<s8>(inf, {1, 0}) == 127);
  CHECK(fbgemm::quantize<s8>(-inf, {1, 0}) == -128);
  CHECK(fbgemm::quantize<s8>(-inf, {1, -1}) == 127);  // -2^31 - 1 wraps, as in the vector loop
  CHECK(fbgemm::quantize<u8>(-1e20f, {1, 10}) == 0);
}

TEST_CASE("FBGEMM's embedding rows", "[convention][fbgemm]") {
  auto const r = embedding_row::eight_bits(-1.0f, 3.0f);
  CHECK(r.quantize(-1.0f) == 0);
  CHECK(r.quantize(3.0f) == 255);
  CHECK(r.dequantize(0) == -1.0f);
  auto const four = embedding_row::few_bits<half>(-0.3f, 1.2f, 4);
  CHECK(four.bias == static_cast<float>(half(-0.3f)));
  CHECK(four.quantize(5.0f) == 15);
  CHECK(four.quantize(-5.0f) == 0);
  auto const flat = embedding_row::few_bits<half>(0.5f, 0.5f, 2);
  CHECK(flat.scale == 1.0f);
  CHECK(flat.dequantize(flat.quantize(0.5f)) == 0.5f);
  CHECK(embedding_row::few_bits<half>(0.0f, 1e-9f, 4).scale == 1.0f);  // the half of the scale is 0
}

TEST_CASE("PyTorch's generic kernels: non-finite values, add and mul", "[convention][pytorch]") {
  float const x[] = {nan_value, inf, -inf, 3e9f, -3e9f};
  int const want[] = {-128, -128, -128, 127, -128};
  for (int i = 0; i < 5; ++i) CHECK(pytorch::quantize<s8>(x[i], {1, 0}) == want[i]);
  CHECK(pytorch::quantize<s32>(nan_value, {1, 0}) == -2147483647 - 1);
  CHECK(pytorch::quantize<s32>(inf, {1, 0}) == -2147483647 - 1);
  CHECK(pytorch::quantize<s32>(3e9f, {1, 0}) == 2147483647);
  CHECK(pytorch::quantize<u8>(1e30f, {1, 0}) == 0);  // beyond int64
  CHECK(pytorch::quantize<u8>(.273939937f, {.00214854861f, 0}) == 128);
  CHECK(pytorch::quantize<u8>(1, {.1f, 3}) == 13);
  CHECK(pytorch::quantize<u8>(2, {.1f, 3}) == 23);
  auto const add = pytorch::add<u8>({.1f, 3}, {.1f, 3}, {.2f, 5});
  CHECK(add(13, 13) == 15);
  CHECK(add(23, 23) == 25);
  CHECK(pytorch::relu(1, {1, 3}) == 3);
  CHECK(pytorch::calculate_qparams({-1, 1}, 0, 255).scale == .00784313772f);
  CHECK(pytorch::calculate_qparams({-1, 1}, 0, 255).zero_point == 127);
  CHECK(pytorch::calculate_qparams_symmetric({-1, 0.5f}, -128, 127, 0).scale == 1 / 127.5f);
  CHECK(pytorch::calculate_qparams({0, 0}, 0, 255).scale == 1.1920928955078125e-07f);
  CHECK(is(pytorch::calculate_qparams(real_range{}, 0, 255), 1, 0));
  // pooling: ties see the parity of the zero point in the generic kernel, and do not in QNNPACK's
  CHECK(pytorch::average_pool<u8>({1, 5}, {1, 5})(13, 2) == 6);   // 6.5
  CHECK(pytorch_qnnpack::average_pool<u8>({1, 5}, {1, 5})(13, 2) == 7);  // (13 - 10) / 2 = 1.5 -> 2, + 5
}

TEST_CASE("PyTorch's fake quantization: values, masks and learnable gradients", "[convention][pytorch]") {
  auto const f = [](float x) { return pytorch::fake_quantize(x, {0.5f, 2}, 0, 15); };
  CHECK(f(1.3f).value == 1.5f);
  CHECK(f(1.3f).passes);
  CHECK(f(100).value == 6.5f);
  CHECK_FALSE(f(100).passes);
  CHECK(f(-1.0f).passes);
  CHECK_FALSE(f(-1.3f).passes);
  for (float x : {nan_value, inf, -inf}) CHECK(f(x).value == -1.0f);
  CHECK(pytorch::fake_quantize(inf, {0.5f, 2}, 0, 15, false).value == 6.5f);
  CHECK(pytorch::fake_quantize(nan_value, {0.5f, 2}, 0, 15, false).value == -1.0f);
  auto const l = pytorch::fake_quantize_learnable(1.3f, 0.5f, 2.4f, 0, 15);
  CHECK(l.value == 1.5f);
  CHECK(l.dx == 1);
  CHECK(l.dscale == (1.5f - 1.3f) * 2.0f);
  // A negative zero point: rounded in the forward pass, "+ 1/2, truncated" in the backward one.
  CHECK(pytorch::fake_quantize_learnable(66.0f, 1.0f / 3, -71.0f, -128, 127).dscale == 197);
  CHECK(pytorch::fake_quantize_learnable(66.0f, 1.0f / 3, -71.0f, -128, 127).value == 66.0f);
  CHECK(pytorch::fake_quantize_learnable(100, 0.5f, 2, 0, 15).dscale == 13);
  CHECK(pytorch::fake_quantize_learnable(100, 0.5f, 2, 0, 15).dzero_point == -0.5f);
  CHECK(pytorch::fake_quantize_learnable(-100, 0.5f, 2, 0, 15).dscale == -2);
}

TEST_CASE("XNNPACK: dynamic parameters, conversion by reciprocal, fixed-point addition with ties up", "[convention][xnnpack]") {
  auto const p = xnnpack::choose_dynamic({-1, 3});
  CHECK(p.inverse == 63.75f);
  CHECK(p.zero_point == -64);
  CHECK(xnnpack::choose_dynamic({0, 0}).inverse == 1.0f);
  CHECK(xnnpack::choose_dynamic({2, 3}).zero_point == -128);
  CHECK(xnnpack::quantize<u8>(.273939937f, {.00214854861f, 0}) == 128);
  auto const add = xnnpack::add<s8>({1, 0}, {1, 0}, {2, 0});
  CHECK(add(1, 0) == 1);    // 0.5 up
  CHECK(add(-1, 0) == 0);   // -0.5 up
  CHECK(add(-3, 0) == -1);  // -1.5 up
  auto const qnn = pytorch_qnnpack::add<s8>({1, 0}, {1, 0}, {2, 0});
  CHECK(qnn(-1, 0) == -1);
  CHECK(qnn(-3, 0) == -2);
  CHECK(xnnpack::mul<s8>({1, 0}, {.5f, 0}, {1, 1})(3, 1) == 3);  // 1.5 to even, + 1
  REQUIRE_THROWS_AS(xnnpack::add<s8>({300, 0}, {1, 0}, {1, 0}), error);
  REQUIRE_THROWS_AS(xnnpack::output_stage<s8>(300, 1, {1, 0}), error);
}

TEST_CASE("TVM: equal scales are not multiplied, addition rounds each operand, float requantization holds the zero point", "[convention][tvm]") {
  auto const same = tvm::requantize<s8>({.1f, 3}, {.1f, -4});
  CHECK(same(10) == 3);
  auto const up = tvm::requantize<s8>({.5f, 0}, {1, 0});
  auto const near = tvm_to_nearest::requantize<s8>({.5f, 0}, {1, 0});
  CHECK(up(-3) == -1);
  CHECK(near(-3) == -2);
  // Each operand is rounded by itself: 0.5 + 0.5 = 2, not 1.
  CHECK(tvm::add<s8>({.5f, 0}, {.5f, 0}, {1, 0})(1, 1) == 2);
  CHECK(tflite::add<s8>({.5f, 0}, {.5f, 0}, {1, 0})(1, 1) == 1);
  // Inside the rounding an odd zero point moves ties away from zero: -1.5 + 1 = -0.5.
  CHECK(tvm::requantize_float<s8, float>({.5f, 0}, {1, 1})(-3) == 0);
  CHECK(tvm_to_nearest::requantize_float<s8, float>({.5f, 0}, {1, 1})(-3) == -1);
  CHECK(tvm_to_nearest::requantize_float<s8, double>({.5f, 0}, {1, 2})(-3) == 1);
  CHECK(tvm::average_pool<s8>({}, {})(-3, 2) == -1);  // truncated
  CHECK(tvm::quantize<s8>(-2.5f, {1, 0}) == -3);
}

TEST_CASE("TensorRT and Model Optimizer", "[convention][tensorrt]") {
  CHECK(is(tensorrt::choose<s8>(real_range{-2.54f, 1}), 2.54f / 127, 0));
  CHECK(is(tensorrt::choose<s8>(real_range{0, 0}), 1, 0));
  CHECK(tensorrt::quantize<s8>(-1000, {1, 0}) == -128);
  CHECK(model_optimizer::quantize<s8>(-1000, {1, 0}) == -127);
  CHECK(model_optimizer::fake_quantize(0.5f, 1.0f) == 64.0f / 127.0f);  // 63.5 to even
  CHECK(model_optimizer::fake_quantize(0.5f, 1e-9f) == 0.0f);
  CHECK(model_optimizer::fake_quantize(-5.0f, 1.0f) == -1.0f);
  CHECK(model_optimizer::fake_quantize(-5.0f, 1.0f, false) == -128.0f / 127.0f);
}

TEST_CASE("Vitis AI: the seven roundings, positions, pooling", "[convention][vitis_ai]") {
  float const x[] = {.5f, 1.5f, 2.5f, -.5f, -1.5f, -2.5f, 2.3f, -2.6f};
  struct row {
    int id;
    int want[8];
  };
  row const rows[] = {{2, {1, 2, 3, 0, -1, -2, 2, -3}}, {3, {1, 2, 3, -1, -2, -3, 2, -3}}, {4, {0, 1, 2, -1, -2, -3, 2, -3}},
                      {5, {0, 2, 2, 0, -1, -2, 2, -3}}, {6, {0, 1, 2, 0, -1, -2, 2, -3}},  {7, {1, 2, 3, 0, -1, -2, 3, -2}},
                      {8, {0, 2, 2, 0, -2, -2, 2, -3}}};
  auto const quantize = [](int id, float v) -> int {
    switch (id) {
      case 2: return vitis_ai::quantize<s8>(v, {1, 0});
      case 3: return vitis_ai_3::quantize<s8>(v, {1, 0});
      case 4: return vitis_ai_4::quantize<s8>(v, {1, 0});
      case 5: return vitis_ai_5::quantize<s8>(v, {1, 0});
      case 6: return vitis_ai_6::quantize<s8>(v, {1, 0});
      case 7: return vitis_ai_7::quantize<s8>(v, {1, 0});
      default: return vitis_ai_8::quantize<s8>(v, {1, 0});
    }
  };
  for (row const& r : rows)
    for (int i = 0; i < 8; ++i) {
      CAPTURE(r.id, x[i]);
      CHECK(quantize(r.id, x[i]) == r.want[i]);
    }
  auto const pos = [](float a, float b) { return vitis_ai::non_overflow_position({a, b}); };
  CHECK(pos(-1, 1) == 6);
  CHECK(pos(-2, 1) == 6);
  CHECK(pos(0, 127.4f) == 0);
  CHECK(pos(0, 127.5f) == 0);
  CHECK(pos(-128.5f, 10) == 0);
  CHECK(pos(-.3f, .9f) == 7);
  CHECK(pos(0, 0) == 127);
  CHECK(vitis_ai::non_overflow_position({0, 0}, 8, 18) == 18);

  std::vector<float> coarse, fine;
  for (int i = -50; i <= 50; ++i) coarse.push_back(static_cast<float>(i) * .01f);
  coarse.push_back(3.0f);
  for (int i = -500; i <= 500; ++i) fine.push_back(static_cast<float>(i) * .001f);
  fine.push_back(1.01f);
  CHECK(pos(-.5f, 3.0f) == 5);
  CHECK(vitis_ai_8::min_mse_position(vector_view<float const>(view(coarse)), 5) == 5);
  CHECK(pos(-.5f, 1.01f) == 6);
  CHECK(vitis_ai_8::min_mse_position(vector_view<float const>(view(fine)), 6) == 7);

  CHECK(vitis_ai::nearest_position(2.0 / 255) == 7);
  CHECK(vitis_ai::nearest_position(6.0 / 255) == 5);
  CHECK(vitis_ai::nearest_position(4.0 / 255) == 6);
  CHECK(vitis_ai::nearest_position(2.8 / 255) == 7);
  CHECK(is(vitis_ai::choose_nearest<s8>({-1, 1}, true), 0x1p-7, 0));
  CHECK(is(vitis_ai::choose_nearest<u8>({0, 6}, false), 0x1p-5, 0));
  CHECK(is(vitis_ai::choose_nearest<u8>({-3, 1}, false), 0x1p-6, 192));
  CHECK(is(vitis_ai::choose_nearest<s8>({-1.4f, 1.4f}, true), 0x1p-7, 0));  // clips at 0.992
  CHECK(vitis_ai::quantize<s8>(1.4f, {0x1p-7f, 0}) == 127);
  CHECK(is(vitis_ai::choose_nearest<s8>({0, 0}, true), 1, 0));

  auto const is_reciprocal = [](index_t h, index_t w, int factor, int shift) {
    auto const r = dpu_reciprocal::of(h, w);
    return r.factor == factor && r.shift == shift;
  };
  CHECK(is_reciprocal(3, 3, 7, 6));
  CHECK(is_reciprocal(5, 5, 10, 8));
  CHECK(is_reciprocal(7, 7, 21, 10));
  CHECK(is_reciprocal(14, 14, 21, 12));
  CHECK(is_reciprocal(2, 2, 1, 2));  // exact: the first that has no error
  CHECK(is_reciprocal(1, 1, 1, 0));
  // 9 elements of 10 at equal positions: 90 * 7 / 64 = 9.84
  CHECK(vitis_ai::average_pool<s8>({.125f, 0}, {.125f, 0})(90, 9) == 10);

  // The DPU's shift: (acc + 2^(sh-1)) >> sh
  auto const out = vitis_ai::output_stage<s8>(0x1p-5f, 0x1p-6f, {0x1p-4f, 0});
  CHECK(out(64) == 1);  // 64 / 128 = 0.5, up
  CHECK(out(-64) == 0);
  CHECK(out(-65) == -1);
  REQUIRE_THROWS_AS(vitis_ai::output_stage<s8>(0.1f, 1, {1, 0}), error);
}

TEST_CASE("every convention represents 0.0 exactly, saturates, and names itself once", "[convention]") {
  std::set<std::string> names;
  for_each_type<conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    auto const expect = [](bool ok, char const* what) { expect_of(c::name, ok, what); };
    expect(names.insert(c::name).second, "a name of its own");
    for (real_range r : {real_range{-1, 1}, real_range{-1, 3}, real_range{0, 6}, real_range{-5, -1}, real_range{0.5f, 2}, real_range{-1e-3f, 1e3f}}) {
      scale_zero_point const s = c::template choose<s8>(r), u = c::template choose<u8>(r);
      expect(s.scale > 0, "a positive scale");
      expect(s.zero_point >= -128 && s.zero_point <= 127, "an int8 zero point");
      expect(u.zero_point >= 0 && u.zero_point <= 255, "a uint8 zero point");
      expect(c::template quantize<s8>(0.0f, {s.scale, s.zero_point}) == s.zero_point, "0.0 becomes the zero point");
      expect(c::dequantize(s.zero_point, {s.scale, s.zero_point}) == 0.0f, "the zero point becomes 0.0");
      // Inside of the range no rounding mode is a whole step off.
      float const x = r.min + (r.max - r.min) * 0.37f;
      float const back = c::dequantize(c::template quantize<s8>(x, {s.scale, s.zero_point}), {s.scale, s.zero_point});
      expect(std::abs(back - x) <= s.scale * 1.001f, "within a step");
    }
    expect(c::template quantize<s8>(1e9f, {1, 0}) == 127, "saturates above");
    expect(c::template quantize<s8>(-1e9f, {1, 0}) == (std::string(c::name) == "model_optimizer" ? -127 : -128), 
           "saturates below");
    // Addition of zero is requantization; 0 * x is the zero point.
    int const zp = std::string(c::name) == "model_optimizer" ? 0 : -2;  // symmetric: it has no zero points
    affine const p{0.5f, 3}, y{1.0f, zp};
    expect(c::template add<s8>(p, p, y, limits{-128, 127})(3, 3) == zp, "0 + 0 is the zero point");
    expect(c::template mul<s8>(p, p, y, limits{-128, 127})(3, 77) == zp, "0 * x is the zero point");
    auto const out = c::template output_stage<s8>(0.25f, 0.5f, affine{1.0f, 7});
    expect(out(0) == 7, "an accumulator of 0");
    expect(out(80) == 17, "80 / 8 + 7");
    expect(out(2000000000) == 127, "a huge accumulator");
    expect(out(-2000000000) == -128, "a huge negative accumulator");
    // The activation's clamp is the caller's.
    expect(c::template output_stage<s8>(0.25f, 0.5f, affine{1.0f, 7}, limits{7, 20})(-800) == 7, 
           "the activation's clamp");
    affine const same{0.5f, zp == 0 ? 0 : 3};
    expect(c::template average_pool<s8>(same, same, limits{-128, 127})(24, 8) == 3, "the average of equal codes");
  });
  CHECK(names.size() == conventions::size);
}

TEST_CASE("ranges that no float scale fits: the zero point is a code all the same", "[convention]") {
  real_range const ranges[] = {{0, 1e-44f}, {-1e-44f, 1e-45f}, {-3e38f, 3e38f}, {-inf, inf}, {-inf, 0}, {0, inf}, {}};
  for_each_type<conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    for (real_range const& r : ranges) {
      auto const s = c::template choose<s8>(r), u = c::template choose<u8>(r);
      expect_of(c::name, s.zero_point >= -128 && s.zero_point <= 127 && u.zero_point >= 0 && u.zero_point <= 255, "a zero point");
      expect_of(c::name, !(s.scale < 0) && !(u.scale < 0), "a scale");
    }
  });
  CHECK(onnx_runtime::choose<u8>({0, 1e-44f}).scale == 1.0f);
  CHECK(tensorrt::choose<s8>({0, 1e-44f}).scale == 1.0f);
  CHECK(tflite::choose_weight_scale(1e-44f) == 1.0f);
  // Codes of 16 bits, whose products leave int32.
  CHECK(pytorch::mul<s16>({1, 32767}, {1, 32767}, {0x1p17f, 0})(-32768, -32768) == 32767);
  CHECK(onnx_runtime::mul<s16>({1, -32768}, {1, 32767}, {0x1p16f, 0})(32767, -32768) == -32768);
  CHECK_THROWS_AS(vitis_ai::add<s8>({0x1p41f, 0}, {1, 0}, {1, 0}), error);
  CHECK(vitis_ai::add<s8>({0x1p40f, 0}, {1, 0}, {0x1p40f, 0})(3, 127) == 3);
}

TEST_CASE("NaN becomes what each convention declares", "[convention]") {
  for_each_type<conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    CAPTURE(c::name);
    bool const narrow = std::string(c::name) == "model_optimizer";
    int const want = c::nan == nan_code::lowest ? (narrow ? -127 : -128) : c::nan == nan_code::highest ? 127 : 3;
    CHECK(c::template quantize<s8>(nan_value, {1, narrow ? 0 : 3}) == want);
  });
}

namespace {

struct quantize_case {
  float x, scale;
  int zero_point;
};

/// 4000 values for scales of every kind: half of them ties or nearly.
std::vector<quantize_case> const& quantize_cases(bool powers_of_two, bool symmetric) {
  static std::vector<quantize_case> made[2][2];
  auto& cases = made[powers_of_two][symmetric];
  std::uint32_t state = 12345;
  auto const next = [&] { return state = state * 1664525u + 1013904223u; };
  for (int i = 0; cases.size() < 4000; ++i) {
    float const scale = powers_of_two ? std::ldexp(1.0f, static_cast<int>(next() % 12) - 8) : 0.001f + static_cast<float>(next() >> 8) * 1e-8f;
    int const zp = symmetric ? 0 : static_cast<int>(next() >> 24) - 128;
    float x = (static_cast<float>(next() >> 16) / 256.0f - 128.0f) * scale;
    if (i % 2 == 0) x = static_cast<float>(static_cast<int>(next() >> 23) - 256) * 0.5f * scale;
    cases.push_back({x, scale, zp});
  }
  return cases;
}

exact::big rounded_by(std::string const& mode, exact::dyadic d) {
  exact::big const den = exact::pow2(d.exponent < 0 ? (-d.exponent > 100 ? 100 : -d.exponent) : 0);
  exact::big const num = d.exponent < 0 ? d.numerator : d.numerator * exact::pow2(d.exponent);
  if (mode == "half_even") return exact::nearest(num, den, exact::tie::even);
  if (mode == "half_away") return exact::nearest(num, den, exact::tie::away);
  if (mode == "half_up") return exact::nearest(num, den, exact::tie::up);
  if (mode == "half_toward_zero") return exact::nearest(num, den, exact::tie::zero);
  if (mode == "half_even_positive") return exact::nearest(num, den, exact::tie::even_positive);
  if (mode == "floor") return exact::directed(num, den, exact::direction::down);
  if (mode == "ceil") return exact::directed(num, den, exact::direction::up);
  throw std::logic_error(mode);
}

/// q = clamp(round(v + zp) or round(v) + zp), v = f32(x / scale) or f32(x * f32(1 / scale)), from exact products.
int expected_code(quantize_case c, scale_form form, zero_point_place place, char const* mode, int lowest) {
  float v = c.x / c.scale;  // IEEE division is correctly rounded by definition
  if (form == scale_form::reciprocal) {
    exact::dyadic const p = exact::to_precision(exact::times(exact::value_of(c.x), exact::value_of(1.0f / c.scale)), 24);
    v = static_cast<float>(std::ldexp(static_cast<double>(p.numerator), p.exponent));
  }
  if (place == zero_point_place::before_rounding) v += static_cast<float>(c.zero_point);
  exact::big q = rounded_by(mode, exact::value_of(v));
  if (place == zero_point_place::after_rounding) q += c.zero_point;
  return static_cast<int>(q < lowest ? lowest : q > 127 ? 127 : q);
}

}  // namespace

TEST_CASE("quantize of a random float equals exact arithmetic in the declared form, rounding and place", "[convention]") {
  for_each_type<conventions>([&](auto tag) {
    using c = typename decltype(tag)::type;
    bool const narrow = std::string(c::name) == "model_optimizer", power = std::string(c::name).find("vitis") == 0;
    long wrong = 0;
    for (quantize_case const& q : quantize_cases(power, narrow || power))
      wrong += c::template quantize<s8>(q.x, {q.scale, q.zero_point}) != expected_code(q, c::form, c::place, c::rounding::name, narrow ? -127 : -128);
    expect_of(c::name, wrong == 0, "equals exact arithmetic");
  });
}
