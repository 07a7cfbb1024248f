// quantize, dequantize and requantize through xsimd, which is the baseline where the CPU is not x86-64, are the definition.
// baseline_plain.cpp includes this file for plain C++.
#ifndef QUERN_BASELINE
#define QUERN_BASELINE QUERN_BASELINE_XSIMD
#define QUERN_TEST_BASELINE "xsimd"
#endif
#include "support/catch.hpp"

#include <quern/convert/convert.hpp>
#include <quern/reference/quantize.hpp>

#include <limits>
#include <random>
#include <vector>

using namespace quern;

#if QUERN_BASELINE != QUERN_BASELINE_XSIMD || __has_include(<xsimd/xsimd.hpp>)

TEST_CASE("convert through " QUERN_TEST_BASELINE " is the definition", "[convert]") {
  std::mt19937 random(29);
  index_t const rows = 9, cols = 77, n = rows * cols;
  std::vector<float> x(static_cast<std::size_t>(n)), real(x.size()), expected_real(x.size());
  std::vector<std::int8_t> q(x.size()), expected(x.size());
  for (int round = 0; round < 20; ++round) {
    for (float& v : x) v = round % 3 == 0 ? 0.5f * static_cast<float>(static_cast<int>(random() % 500) - 250)
                                          : bits_of<float>(static_cast<std::uint32_t>(random()));
    auto p = params<asymmetric<s8, per_channel<1>>>::with_size(cols);
    for (index_t j = 0; j < cols; ++j)
      p.set(j, {round % 2 == 0 ? 1.0f : 0.01f + static_cast<float>(random() % 1000) * 0.01f, static_cast<int>(random() % 256) - 128});
    auto const check = [&](auto form, reference::form as) {
      auto const want = reference::quantize<asymmetric<s8, per_channel<1>>>(row_major<float const>(x.data(), rows, cols), p.view(),
                                                                            row_major(expected.data(), rows, cols), as);
      auto const counts = quantize<round_to::half_even, decltype(form)>(row_major<float const>(x.data(), rows, cols), p,
                                                                        row_major(q.data(), rows, cols), {.max_isa = isa::baseline});
      REQUIRE(q == expected);
      REQUIRE(counts.saturated == want.saturated);
      REQUIRE(counts.non_finite == want.non_finite);
    };
    check(divide{}, reference::form::divide);
    check(reciprocal{}, reference::form::reciprocal);

    reference::dequantize<asymmetric<s8, per_channel<1>>>(row_major<std::int8_t const>(q.data(), rows, cols), p.view(),
                                                          row_major(expected_real.data(), rows, cols));
    dequantize(row_major<std::int8_t const>(q.data(), rows, cols), p, row_major(real.data(), rows, cols), {.max_isa = isa::baseline});
    REQUIRE(real == expected_real);

    std::vector<std::int32_t> acc(x.size());
    for (std::int32_t& a : acc) a = static_cast<std::int32_t>(random()) >> (random() % 24);
    params<asymmetric<s8>> const to{.scale = 0.9f, .zero_point = -3};
    float const scale = 0.0011f;
    auto const requantized = [&](auto policy) {
      using policy_type = decltype(policy);
      auto const want = reference::requantize<asymmetric<s8>, policy_type>(
          matrix_view<std::int32_t const>{acc.data(), 1, n, n, 1}, 0,
          policy_type::from_real(static_cast<double>(scale) / static_cast<double>(to.scale)), to.zero_point,
          matrix_view<std::int8_t>{expected.data(), 1, n, n, 1});
      auto const counts = requantize<policy_type>(view(std::as_const(acc)), params_view{&scale, nullptr, 1}, to, view(q), {.max_isa = isa::baseline});
      REQUIRE(q == expected);
      REQUIRE(counts.saturated == want);
    };
    requantized(rescale::float_multiply<>{});
    requantized(rescale::gemmlowp_double{});
  }
}

#endif
