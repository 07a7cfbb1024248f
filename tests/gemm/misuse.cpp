// Every mistake a call can make: its error, its sentence, and nothing written.
#include "problem.hpp"

#include <quern/ops/gemm_batch.hpp>
#include <quern/ops/linear.hpp>

using namespace gemm_test;

namespace {

struct fixture {
  std::vector<std::uint8_t> lhs = codes<std::uint8_t>(6 * 20, fill::full, 1);
  std::vector<std::int8_t> rhs = codes<std::int8_t>(20 * 10, fill::full, 2);
  packed_matrix<std::int8_t> packed = pack(row_major(rhs.data(), 20, 10));
  std::vector<std::int8_t> dst = std::vector<std::int8_t>(60, 77);
  std::vector<std::int32_t> acc = std::vector<std::int32_t>(60, 77);
  matrix_view<std::uint8_t> x() { return row_major(lhs.data(), 6, 20); }
  matrix_view<std::int8_t> y() { return row_major(dst.data(), 6, 10); }
  bool untouched() const {
    for (auto v : dst)
      if (v != 77) return false;
    for (auto v : acc)
      if (v != 77) return false;
    return true;
  }
};

template <class F>
void refuses(fixture& f, errc code, std::string const& part, F&& call) {
  try {
    call();
    FAIL("no error; expected: " << part);
  } catch (error const& e) {
    INFO(e.what());
    CHECK(e.code() == code);
    CHECK(std::string(e.what()).find(part) != std::string::npos);
  }
  CHECK(f.untouched());
}

}  // namespace

TEST_CASE("gemm refuses shapes that do not fit", "[gemm][errors]") {
  fixture f;
  refuses(f, errc::shape, "lhs has 19 columns, the packed rhs 20 rows", [&] { gemm(row_major(f.lhs.data(), 6, 19), f.packed, f.y()); });
  refuses(f, errc::shape, "dst must be 6 x 10", [&] { gemm(f.x(), f.packed, row_major(f.dst.data(), 6, 9)); });
  refuses(f, errc::shape, "-1 x 20", [&] { gemm(row_major(f.lhs.data(), -1, 20), f.packed, f.y()); });
  refuses(f, errc::null, "lhs is null", [&] { gemm(matrix_view<std::uint8_t>{nullptr, 6, 20, 20, 1}, f.packed, f.y()); });
  refuses(f, errc::null, "dst is null", [&] { gemm(f.x(), f.packed, matrix_view<std::int8_t>{nullptr, 6, 10, 10, 1}); });
  refuses(f, errc::null, "empty packed matrix", [&] { gemm(f.x(), packed_matrix<std::int8_t>{}, f.y()); });
  std::vector<std::int32_t> const bias(9);
  refuses(f, errc::shape, "epilogue.bias has 9 elements", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.bias = view(bias)}); });
  refuses(f, errc::null, "epilogue.bias is null", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.bias = {nullptr, 10, 1}}); });
  refuses(f, errc::shape, "lhs_zero_point has 9 elements, dst 6 rows", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.lhs_zero_point = view(bias)}); });
  refuses(f, errc::shape, "rhs_zero_point has 9", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.rhs_zero_point = view(bias)}); });
  std::vector<float> const scales(9, 1.0f);
  refuses(f, errc::shape, "rescale.cols has 9", [&] { gemm(f.x(), f.packed, f.y(), epilogue<to_real>{.rescale = {.cols = view(scales)}}); });
  refuses(f, errc::shape, "rescale.rows has 9", [&] { gemm(f.x(), f.packed, f.y(), epilogue<to_real>{.rescale = {.rows = view(scales)}}); });
  using r = residual<std::int8_t, to_real>;
  refuses(f, errc::shape, "residual is 5 x 10", [&] { gemm(f.x(), f.packed, f.y(), epilogue<to_real, r>{.residual = {.from = row_major(f.rhs.data(), 5, 10), .rescale = 1.0f}}); });
}

TEST_CASE("gemm refuses values outside of their range", "[gemm][errors]") {
  fixture f;
  refuses(f, errc::zero_point, "lhs_zero_point[0] is 256", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.lhs_zero_point = 256}); });
  refuses(f, errc::zero_point, "rhs_zero_point[0] is -129", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.rhs_zero_point = -129}); });
  refuses(f, errc::zero_point, "dst_zero_point is 128", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.dst_zero_point = 128}); });
  for (float bad : {0.0f, -1.0f, __builtin_nanf(""), __builtin_inff()}) {
    refuses(f, errc::scale, "rescale.cols[0] is", [&] { gemm(f.x(), f.packed, f.y(), epilogue<to_real>{.rescale = {.cols = bad}}); });
    refuses(f, errc::scale, "rescale.rows[0] is", [&] { gemm(f.x(), f.packed, f.y(), epilogue<to_real>{.rescale = {.rows = bad}}); });
  }
  refuses(f, errc::argument, "the clamp is [5, 4]", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.min = 5, .max = 4}); });
  refuses(f, errc::argument, "the clamp is [200,", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.min = 200}); });
  refuses(f, errc::argument, "the clamp is [NaN", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.min = __builtin_nan("")}); });
  refuses(f, errc::argument, "accumulate", [&] { gemm(f.x(), f.packed, f.y(), epilogue<>{.accumulate = true}); });
  refuses(f, errc::argument, "lhs_range is [-1, 5]", [&] { gemm(f.x(), f.packed, f.y(), {}, {.lhs_range = {-1, 5}}); });
}

TEST_CASE("gemm refuses overlap and small workspaces", "[gemm][errors]") {
  fixture f;
  std::vector<std::uint8_t> both(400, 3);
  refuses(f, errc::overlap, "dst overlaps lhs", [&] { gemm(row_major(both.data(), 6, 20), f.packed, row_major(both.data() + 110, 6, 10), epilogue<>{}); });
  buffer<unsigned char> memory(1 << 20);
  index_t const bytes = gemm_workspace(f.x(), f.packed, f.y());
  refuses(f, errc::capacity, "gemm_workspace", [&] { gemm(f.x(), f.packed, f.y(), {}, {.workspace = {memory.data(), bytes - 1}}); });
  refuses(f, errc::argument, "64-byte boundary", [&] { gemm(f.x(), f.packed, f.y(), {}, {.workspace = {memory.data() + 4, bytes}}); });
  auto want = f.dst;
  gemm(f.x(), f.packed, row_major(want.data(), 6, 10));
  for (index_t i = bytes; i < bytes + 256; ++i) memory[i] = 0x5a;
  gemm(f.x(), f.packed, f.y(), {}, {.workspace = {memory.data(), bytes}});
  CHECK(f.dst == want);
  bool within = true;
  for (index_t i = bytes; i < bytes + 256; ++i) within &= memory[i] == 0x5a;
  CHECK(within);
}

TEST_CASE("gemm refuses depths that int32 may not hold, unless the weights prove them or int64 is asked for", "[gemm][errors][proof]") {
  fixture f;
  index_t const k = 65794;  // one above u8 * s8
  std::vector<std::uint8_t> const x(static_cast<std::size_t>(k), 255);
  std::vector<std::int8_t> w(static_cast<std::size_t>(k), -128);
  std::int32_t y = 77;
  auto const lhs = row_major(x.data(), 1, k);
  auto const dst = row_major(&y, 1, 1);
  auto const worst = pack(row_major(w.data(), k, 1));
  refuses(f, errc::depth, "only up to 65793", [&] { gemm(lhs, worst, dst); });
  CHECK(y == 77);
  auto const bound = pack(row_major(w.data(), k - 1, 1));
  support::for_each_native_isa([&](isa i) {
    INFO(name(i));
    gemm(row_major(x.data(), 1, k - 1), bound, dst);
    CHECK(y == -128 * 255 * 65793);  // at the bound
    gemm(lhs, worst, dst, {}, {.lhs_range = {0, 254}});  // a promise lifts it; what it is broken for is not an overflow here
    CHECK(y == wrap32(-128LL * 255 * 65794));
    std::int8_t narrow = 0;
    gemm(lhs, worst, row_major(&narrow, 1, 1), epilogue<rescale::float_multiply<>>{.rescale = rescale::float_multiply<>::from_real(1.0 / (1 << 25))}, {.wide = true});
    CHECK(int{narrow} == -64);
  });
  // A policy of 32 bits would take the sum modulo 2^32.
  STATIC_REQUIRE(detail::rescales_int64<rescale::tflite_s64>);
  STATIC_REQUIRE(detail::rescales_int64<rescale::cmsis_nn_s64>);
  STATIC_REQUIRE(detail::rescales_int64<rescale::float_multiply<>>);
  STATIC_REQUIRE(detail::rescales_int64<rescale::power_of_two<>>);
  STATIC_REQUIRE(detail::rescales_int64<no_rescale>);
  STATIC_REQUIRE(detail::rescales_int64<to_real>);
  STATIC_REQUIRE_FALSE(detail::rescales_int64<rescale::gemmlowp_double>);
  std::int8_t wrong = 77;
  epilogue<rescale::gemmlowp_double> const narrow_policy{.rescale = rescale::gemmlowp_double::from_real(0.001)};
  refuses(f, errc::depth, "a policy for int64", [&] { gemm(lhs, worst, row_major(&wrong, 1, 1), narrow_policy, {.wide = true}); });
  std::vector<std::int8_t> const nothing(static_cast<std::size_t>(k), 0);
  gemm(lhs, pack(row_major(nothing.data(), k, 1)), row_major(&wrong, 1, 1), narrow_policy, {.wide = true});
  CHECK(int{wrong} == 0);  // these weights prove it
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = i % 2 == 0 ? 100 : -100;  // real weights: far from the worst
  auto const proved = pack(row_major(w.data(), k, 1));
  gemm(lhs, proved, dst);
  CHECK(y == 0);
  refuses(f, errc::depth, "weights do not prove", [&] { gemm(lhs, proved, dst, epilogue<>{.rhs_zero_point = -128}); });
}

TEST_CASE("int16 activations sum in int64 where int32 would not do", "[gemm]") {
  index_t const m = 5, k = 1300, n = 19;
  auto const lhs = codes<std::int16_t>(m * k, fill::extremes, 3);
  auto const rhs = codes<std::int8_t>(k * n, fill::extremes, 4);
  auto const packed = pack(row_major(rhs.data(), k, n));
  std::vector<std::int32_t> bias(static_cast<std::size_t>(n));
  for (index_t j = 0; j < n; ++j) bias[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(1000003 * j - 7);
  using policy = rescale::tflite_s64;
  auto const p = policy::from_real(1.0 / (1 << 20));
  std::vector<std::int16_t> want(static_cast<std::size_t>(m * n));
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      std::int64_t acc = bias[static_cast<std::size_t>(j)];
      for (index_t q = 0; q < k; ++q)
        acc += (std::int64_t{lhs[static_cast<std::size_t>(i * k + q)]} - 11) * (rhs[static_cast<std::size_t>(q * n + j)] + 2);
      want[static_cast<std::size_t>(i * n + j)] = saturate<std::int16_t>(policy::apply(acc, p) + std::int64_t{5});
    }
  epilogue<policy> const e{.lhs_zero_point = 11, .rhs_zero_point = -2, .bias = view(bias), .rescale = p, .dst_zero_point = 5};
  support::for_each_isa([&](isa i) {
    INFO(name(i));
    std::vector<std::int16_t> got(want.size());
    gemm(row_major(lhs.data(), m, k), packed, row_major(got.data(), m, n), e, {.wide = true});
    CHECK(difference(got, want, n) == "");
  });
  std::vector<std::int32_t> y(1);
  CHECK_THROWS_AS(gemm(row_major(lhs.data(), 1, k), packed, row_major(y.data(), 1, n)), error);
}

TEST_CASE("int16 activations and 4-bit weights in int64, deeper than a segment", "[gemm]") {
  index_t const m = 3, k = 1300, n = 18;
  auto const lhs = codes<std::int16_t>(m * k, fill::extremes, 5);
  auto rhs = codes<std::int8_t>(k * n, fill::extremes, 6);
  for (auto& c : rhs) c = static_cast<std::int8_t>(c / 16);
  std::vector<std::int32_t> want(static_cast<std::size_t>(m * n)), got(want.size());
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      std::int64_t acc = 0;
      for (index_t q = 0; q < k; ++q) acc += std::int64_t{lhs[static_cast<std::size_t>(i * k + q)]} * rhs[static_cast<std::size_t>(q * n + j)];
      want[static_cast<std::size_t>(i * n + j)] = wrap32(acc);
    }
  auto const packed = pack<s4>(row_major(rhs.data(), k, n));
  support::for_each_isa([&](isa i) {
    INFO(name(i));
    gemm(row_major(lhs.data(), m, k), packed, row_major(got.data(), m, n), epilogue<>{}, {.wide = true});
    CHECK(difference(got, want, n) == "");
  });
}

TEST_CASE("a residual that is none, and batches of which one is none, are refused before anything is written", "[gemm][errors]") {
  fixture f;
  std::vector<std::int8_t> other(60, 1);
  using stage = residual<std::int8_t, to_real>;
  epilogue<to_real, stage> e{.residual = {.from = row_major(static_cast<std::int8_t const*>(other.data()), 6, 10), .zero_point = 200, .rescale = 1}};
  refuses(f, errc::zero_point, "residual.zero_point is 200", [&] { gemm(f.x(), f.packed, f.y(), e); });
  e.residual.zero_point = 0, e.residual.rescale = 0;
  refuses(f, errc::scale, "residual.rescale is 0", [&] { gemm(f.x(), f.packed, f.y(), e); });
  std::vector<std::int8_t> both(61, 1);
  e.residual.rescale = 1, e.residual.from = row_major(static_cast<std::int8_t const*>(both.data()), 6, 10);
  refuses(f, errc::overlap, "dst overlaps epilogue.residual", [&] { gemm(f.x(), f.packed, row_major(both.data() + 1, 6, 10), e); });
  gemm(f.x(), f.packed, row_major(both.data(), 6, 10), e);  // the same, element for element
  // The second right side does not fit int32, the first does.
  std::vector<std::int8_t> rhs(2 * 140000, 0), lhs(140000, -128);
  for (std::size_t i = 140000; i < rhs.size(); ++i) rhs[i] = -128;
  std::vector<std::int32_t> y(2, 7);
  refuses(f, errc::depth, "k is 140000", [&] {
    gemm_batch(batch_view<std::int8_t>{row_major(lhs.data(), 1, 140000), 2, 0}, batch_view<std::int8_t>{row_major(rhs.data(), 140000, 1), 2, 140000},
               batch_view<std::int32_t>{row_major(y.data(), 1, 1), 2, 1});
  });
  CHECK(y == std::vector<std::int32_t>(2, 7));
}

TEST_CASE("weights in groups of no k leave the bias", "[gemm]") {
  std::vector<float> const w, x, bias = {1.5f, -2};
  std::vector<float> y(6);
  dynamic_linear(row_major(x.data(), 3, 0), quantize_linear_weights(row_major(w.data(), 0, 2), view(bias), {.group = 8}), row_major(y.data(), 3, 2));
  CHECK(y == std::vector<float>{1.5f, -2, 1.5f, -2, 1.5f, -2});
}

TEST_CASE("an empty list of scales scales nothing where there is nothing", "[gemm]") {
  std::vector<float> const none;
  std::vector<std::int8_t> const w(20 * 3, 1), x(20, 1);
  float y = 7;
  gemm(row_major(x.data(), 0, 20), pack(row_major(w.data(), 20, 3)), row_major(&y, 0, 3), epilogue<to_real>{.rescale = {.rows = view(none)}});
  gemm(row_major(x.data(), 1, 20), pack(row_major(w.data(), 20, 0)), row_major(&y, 1, 0), epilogue<to_real>{.rescale = {.cols = view(none)}});
  CHECK_THROWS_AS(gemm(row_major(x.data(), 1, 20), pack(row_major(w.data(), 20, 1)), row_major(&y, 1, 1), epilogue<to_real>{.rescale = {.cols = view(none)}}), error);
  CHECK(y == 7);
}

TEST_CASE("weights in groups, batches and layers refuse what does not fit them", "[gemm][errors]") {
  fixture f;
  auto const grouped = pack(row_major(f.rhs.data(), 20, 10), {.group = 8});
  std::vector<float> scales(30, 1.0f);
  refuses(f, errc::argument, "only epilogue<to_real>", [&] { gemm(f.x(), grouped, f.y()); });
  refuses(f, errc::shape, "groups is 0 x 0; rhs has 3 groups", [&] { gemm(f.x(), grouped, f.y(), epilogue<to_real>{}); });
  refuses(f, errc::shape, "rhs was packed without groups", [&] { gemm(f.x(), f.packed, f.y(), epilogue<to_real>{.rescale = {.groups = row_major(scales.data(), 3, 10)}}); });
  scales[13] = -1;
  refuses(f, errc::scale, "groups(1, 3)", [&] { gemm(f.x(), grouped, f.y(), epilogue<to_real>{.rescale = {.groups = row_major(scales.data(), 3, 10)}}); });
  batch_view<std::uint8_t> const x{row_major(f.lhs.data(), 2, 20), 3, 40};
  batch_view<std::int8_t> const y{row_major(f.dst.data(), 2, 10), 2, 20};
  refuses(f, errc::shape, "lhs has 3 matrices, dst 2", [&] { gemm_batch(x, f.packed, y); });
  refuses(f, errc::overlap, "dst.stride is 0", [&] { gemm_batch(x, f.packed, batch_view<std::int8_t>{y.first, 3, 0}); });
  refuses(f, errc::null, "problems is null", [&] { gemm_list<std::uint8_t, std::int8_t, std::int8_t, epilogue<>>(nullptr, 2); });
  std::vector<float> wf(20 * 10, 0.5f), xf(6 * 20, 1.0f), yf(60, 7.0f);
  auto const layer = quantize_linear_weights(row_major(wf.data(), 20, 10));
  refuses(f, errc::shape, "x has 19 columns", [&] { dynamic_linear(row_major(xf.data(), 6, 19), layer, row_major(yf.data(), 6, 10)); });
  refuses(f, errc::scale, "the scale is 0", [&] { linear(row_major(xf.data(), 6, 20), params<asymmetric<s8>>{0.0f, 0}, layer, row_major(yf.data(), 6, 10)); });
  wf[7] = __builtin_nanf("");
  refuses(f, errc::argument, "w(0, 7) is NaN", [&] { (void)quantize_linear_weights(row_major(wf.data(), 20, 10)); });
}
