#include <quern/scheme/choose_params.hpp>

#include "support/catch.hpp"

#include <limits>
#include <string>
#include <vector>

using namespace quern;

namespace {

template <class Call>
std::string message(Call call) {
  try {
    call();
  } catch (error const& e) {
    return e.what();
  }
  return "no error";
}

template <class G>
std::vector<index_t> map_of(index_t rows, index_t cols) {
  auto const grid = grid_of<G>(rows, cols);
  std::vector<index_t> map;
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j) map.push_back(grid.at(i, j));
  return map;
}

}  // namespace

TEST_CASE("granularity: which element of a matrix uses which scale", "[scheme][granularity]") {
  using v = std::vector<index_t>;
  CHECK(map_of<per_tensor>(2, 5) == v{0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(map_of<per_row>(2, 5) == v{0, 0, 0, 0, 0, 1, 1, 1, 1, 1});
  CHECK(map_of<per_channel<0>>(2, 5) == v{0, 0, 0, 0, 0, 1, 1, 1, 1, 1});
  CHECK(map_of<per_channel<1>>(2, 5) == v{0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
  CHECK(map_of<per_channel<-1>>(2, 5) == v{0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
  CHECK(map_of<per_group<2>>(2, 5) == v{0, 0, 1, 1, 2, 3, 3, 4, 4, 5});  // the last group of a row is short
  CHECK(map_of<per_group<2, 0>>(3, 2) == v{0, 1, 0, 1, 2, 3});
  CHECK(map_of<per_group<100>>(2, 3) == v{0, 0, 0, 1, 1, 1});
}

TEST_CASE("granularity: how many scales a shape has", "[scheme][granularity]") {
  CHECK(grid_of<per_tensor>(7, 9).count() == 1);
  CHECK(grid_of<per_tensor>(0, 9).count() == 1);
  CHECK(grid_of<per_row>(7, 9).count() == 7);
  CHECK(grid_of<per_row>(7, 0).count() == 7);
  CHECK(grid_of<per_row>(0, 9).count() == 0);
  CHECK(grid_of<per_channel<1>>(7, 9).count() == 9);
  CHECK(grid_of<per_group<4>>(7, 9).count() == 21);
  CHECK(grid_of<per_group<4>>(7, 0).count() == 0);
  CHECK(grid_of<per_group<4, 0>>(7, 9).count() == 18);
  CHECK(grid_of<per_group<4>>(9).count() == 3);
  CHECK(grid_of<per_row>(9).count() == 1);
  // NHWC
  CHECK(grid_of<per_channel<3>>(2, 3, 4, 5).count() == 5);
  CHECK(grid_of<per_channel<-1>>(2, 3, 4, 5).at(1, 2, 3, 4) == 4);
  CHECK(grid_of<per_channel<0>>(2, 3, 4, 5).at(1, 2, 3, 4) == 1);
  CHECK(grid_of<per_row>(2, 3, 4, 5).count() == 24);
  CHECK(grid_of<per_row>(2, 3, 4, 5).at(1, 2, 3, 4) == 23);
  CHECK(grid_of<per_group<2>>(2, 3, 4, 5).count() == 72);
  static_assert(grid_of<per_group<3>>(4, 10).at(3, 9) == 15);
}

TEST_CASE("names of schemes, codes and granularities", "[scheme]") {
  CHECK(scheme_name<symmetric<>> == std::string("symmetric<s8, per_tensor, full_range>"));
  CHECK(scheme_name<asymmetric<std::uint8_t, per_channel<-1>, narrow_range>> ==
        std::string("asymmetric<u8, per_channel<-1>, narrow_range>"));
  CHECK(scheme_name<power_of_two<code<12, true>, per_group<32>>> == std::string("power_of_two<s12, per_group<32>, full_range>"));
  CHECK(granularity_name<per_group<128, 0>> == std::string("per_group<128, 0>"));
  CHECK(code_name<std::uint16_t> == std::string("u16"));
}

TEST_CASE("schemes meet the concept, and builtin integers stand for their codes", "[scheme]") {
  static_assert(scheme<symmetric<>> && scheme<asymmetric<u4, per_group<32>>> && scheme<power_of_two<s16, per_row>>);
  static_assert(!scheme<int> && !scheme<s8> && !scheme<per_tensor>);
  static_assert(std::is_same_v<symmetric<std::int8_t>::code, s8>);
  static_assert(symmetric<s8, per_tensor, narrow_range>::q_min == -127 && asymmetric<u8, per_tensor, narrow_range>::q_min == 1);
  static_assert(quantization_params<params<symmetric<>>> && quantization_params<params<symmetric<s8, per_row>>>);
  static_assert(quantization_params<static_params<asymmetric<u8, per_channel<0>>, 3>> && !quantization_params<params_view>);
  static_assert(std::is_aggregate_v<params<symmetric<>>> && std::is_trivially_copyable_v<params<symmetric<>>>);
  SUCCEED();
}

TEST_CASE("check_params: every broken rule has its sentence", "[scheme][errors]") {
  using S = symmetric<s8, per_channel<0>>;
  using A = asymmetric<u8, per_row>;
  float scales[] = {1.0f, 2.0f, 0.5f};
  std::int32_t zeros[] = {0, 255, 7};
  auto const check_s = [&](index_t needed = 3) {
    return message([&] { check_params<S>({scales, nullptr, 3}, needed, "quantize"); });
  };
  CHECK(check_s() == "no error");
  CHECK(check_s(4) == "quantize: params hold 3 scales, but per_channel<0> needs 4 for this shape.");
  for (auto [bad, text] : {std::pair{0.0f, "0"}, {-0.0f, "0"}, {-1.0f, "-1"}, {std::numeric_limits<float>::quiet_NaN(), "NaN"},
                           {std::numeric_limits<float>::infinity(), "infinity"}, {-std::numeric_limits<float>::infinity(), "-infinity"}}) {
    scales[1] = bad;
    CHECK(check_s() == "quantize: scale 1 is " + std::string(text) + "; a scale must be finite and greater than zero.");
  }
  scales[1] = 1e-45f;  // subnormal: a scale like any other
  CHECK(check_s() == "no error");

  auto const check_a = [&] { return message([&] { check_params<A>({scales, zeros, 3}, 3, "dequantize"); }); };
  CHECK(check_a() == "no error");
  zeros[2] = 256;
  CHECK(check_a() == "dequantize: zero point 2 is 256; it must be a code of asymmetric<u8, per_row, full_range>, 0 to 255.");
  zeros[2] = -1;
  CHECK(check_a().find("zero point 2 is -1") != std::string::npos);
  zeros[2] = 0;
  CHECK(message([&] { check_params<with_range<A, narrow_range>>({scales, zeros, 3}, 3, "dequantize"); }).find("1 to 255") !=
        std::string::npos);

  CHECK(message([&] { check_params<S>({scales, zeros, 3}, 3, "pack"); }) ==
        "pack: zero point 1 is 255; in symmetric<s8, per_channel<0>, full_range> it is always 0.");
  CHECK(message([&] { check_params<S>({nullptr, nullptr, 3}, 3, "pack"); }) ==
        "pack: params.scales is null, but 3 scales are needed.");
  CHECK(message([&] { check_params<S>({nullptr, nullptr, 0}, 0, "pack"); }) == "no error");
  CHECK(message([&] { check_params<power_of_two<>>(params<power_of_two<>>{.scale = 1.5f}.view(), 1, "pack"); }) ==
        "pack: scale 0 is 1.5; power_of_two takes powers of two only.");
  CHECK(message([&] { check_params<power_of_two<>>(params<power_of_two<>>{.scale = 0.25f}.view(), 1, "pack"); }) == "no error");
}

TEST_CASE("params own, copy and view their scales", "[scheme]") {
  auto p = params<asymmetric<u8, per_row>>::with_size(2);
  p.set(1, {0.5f, 9});
  auto const copy = p;
  p.set(1, {0.25f, 8});
  CHECK(copy.view().scale(1) == 0.5f);
  CHECK(copy.view().zero_point(1) == 9);
  CHECK(p.view().sub(1, 1).zero_point(0) == 8);
  auto const symmetric_params = params<symmetric<s8, per_row>>::with_size(2);
  CHECK(symmetric_params.view().zero_points == nullptr);
  CHECK(symmetric_params.view().zero_point(1) == 0);
  CHECK(params<symmetric<u8, per_row>>::with_size(2).view().zero_point(1) == 128);
}
