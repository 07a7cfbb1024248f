// gemm.cpp — one product out of any bytes; all instruction sets must agree with plain loops, bit for bit.
//
// As a test it runs a fixed sequence of generated inputs. As a fuzz target (clang++ -fsanitize=fuzzer,address -DQUERN_LIBFUZZER)
// libFuzzer chooses the bytes:
//
//     clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address -DQUERN_LIBFUZZER -Iinclude -Itests tests/fuzz/gemm.cpp -o fuzz_gemm && ./fuzz_gemm
#include "quern/ops/gemm.hpp"
#include "support/isas.hpp"

#include "choices.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#ifndef QUERN_LIBFUZZER
#include "support/catch.hpp"
#endif

namespace {

using namespace quern;
using namespace fuzz;

[[noreturn]] void disagree(char const* what, isa i, index_t m, index_t n, index_t k, index_t row, index_t col, double got, double want) {
  std::fprintf(stderr, "%s on %s, %td x %td x %td: dst(%td, %td) is %.9g, by the formula %.9g\n", what, name(i), m, n, k, row, col, got, want);
  std::abort();
}

template <class Lhs, class Rhs, class Dst, class Rescale>
void one_product(choices& c) {
  using rhs_code = code_of_t<Rhs>;
  using rhs_storage = typename rhs_code::storage;
  using lhs_code = code_of_t<Lhs>;
  index_t const m = c.upto(40), n = c.upto(70), k = c.coin() ? c.upto(300) : c.upto(20);
  index_t const lhs_gap = c.byte() % 3, dst_gap = c.byte() % 3;
  bool const transposed = c.coin(), rows_differ = c.coin(), columns_differ = c.coin(), with_bias = c.coin(), each_scale = c.coin();
  index_t const lhs_stride = k + lhs_gap, dst_stride = n + dst_gap;

  std::vector<Lhs> lhs(static_cast<std::size_t>(m * lhs_stride + 1));
  std::vector<rhs_storage> rhs(static_cast<std::size_t>(k * n + 1));
  fill(lhs, c, lhs_code::min, lhs_code::max);
  fill(rhs, c, rhs_code::min, rhs_code::max);
  std::vector<std::int32_t> lhs_zero(static_cast<std::size_t>(m + 1)), rhs_zero(static_cast<std::size_t>(n + 1)), bias(static_cast<std::size_t>(n + 1));
  fill(lhs_zero, c, lhs_code::min, lhs_code::max);
  fill(rhs_zero, c, rhs_code::min, rhs_code::max);
  for (auto& b : bias) b = c.coin() ? c.word() / 65536 : c.word() / 16;
  std::vector<float> scales(static_cast<std::size_t>(n + 1)), row_scales(static_cast<std::size_t>(m + 1));
  float const common = c.scale();
  for (auto& s : scales) s = each_scale ? c.scale() : common;
  for (auto& s : row_scales) s = c.scale();

  auto const rhs_view = transposed ? col_major(rhs.data(), k, n) : row_major(rhs.data(), k, n);
  auto const packed = pack<Rhs>(rhs_view);

  epilogue<Rescale> e;
  if (rows_differ) e.lhs_zero_point = view(lhs_zero.data(), m);
  else e.lhs_zero_point = lhs_zero[0];
  if (columns_differ) e.rhs_zero_point = view(rhs_zero.data(), n);
  else e.rhs_zero_point = rhs_zero[0];
  if (with_bias) e.bias = view(static_cast<std::int32_t const*>(bias.data()), n);
  std::int32_t lo = 0, hi = 0;
  if constexpr (std::is_integral_v<Dst>) {
    using d = code_of_t<Dst>;
    lo = d::min;
    hi = d::max;
    if (sizeof(Dst) < 4) {
      e.dst_zero_point = d::min + static_cast<std::int32_t>(c.upto(static_cast<unsigned>(d::max - d::min)));
      if (c.coin()) lo = e.dst_zero_point;
    }
    e.min = lo;
    e.max = hi;
  }
  constexpr bool real = std::is_same_v<Rescale, to_real>, raw = std::is_same_v<Rescale, no_rescale>;
  std::vector<float> real_bias(static_cast<std::size_t>(n + 1));
  bool const with_real_bias = real && c.coin();
  if constexpr (real) {
    if (each_scale) e.rescale.cols = view(scales.data(), n);
    else e.rescale.cols = common;
    if (rows_differ) e.rescale.rows = view(row_scales.data(), m);
    for (auto& b : real_bias) b = static_cast<float>(c.word()) * 0x1p-20f;
    if (with_real_bias) e.rescale.bias = view(static_cast<float const*>(real_bias.data()), n);
  }
  auto const rescales = [&] {
    if constexpr (raw || real) {
      return 0;
    } else {
      std::vector<typename Rescale::parameters> p;
      for (float s : scales) p.push_back(Rescale::from_real(static_cast<double>(s < 0.9f ? s : 0.9f)));
      return p;
    }
  }();
  if constexpr (!raw && !real) {
    if (each_scale) e.rescale = view(rescales.data(), n);
    else e.rescale = rescales[0];
  }

  std::vector<Dst> want(static_cast<std::size_t>(m * dst_stride + 1), Dst(7)), got;
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) {
      std::int64_t acc = with_bias ? bias[static_cast<std::size_t>(j)] : 0;
      for (index_t x = 0; x < k; ++x)
        acc += (std::int64_t{lhs[static_cast<std::size_t>(i * lhs_stride + x)]} - lhs_zero[static_cast<std::size_t>(rows_differ ? i : 0)]) *
               (std::int64_t{rhs_view(x, j)} - rhs_zero[static_cast<std::size_t>(columns_differ ? j : 0)]);
      auto const sum = static_cast<std::int32_t>(static_cast<std::uint32_t>(acc));
      Dst& to = want[static_cast<std::size_t>(i * dst_stride + j)];
      if constexpr (real) {
        float volatile const scale = (rows_differ ? row_scales[static_cast<std::size_t>(i)] : 1.0f) * scales[static_cast<std::size_t>(j)];
        float volatile product = static_cast<float>(sum) * scale;
        if (with_real_bias) product = product + real_bias[static_cast<std::size_t>(j)];
        if constexpr (std::is_integral_v<Dst>) {
          double const steps = __builtin_rint(static_cast<double>(product)) + e.dst_zero_point;
          to = static_cast<Dst>(steps < lo ? lo : steps > hi ? hi : steps);
        } else {
          to = static_cast<Dst>(static_cast<float>(product));
        }
      } else {
        std::int64_t value = sum;
        if constexpr (!raw) value = Rescale::apply(sum, rescales[static_cast<std::size_t>(each_scale ? j : 0)]);
        value += e.dst_zero_point;
        to = static_cast<Dst>(value < lo ? lo : value > hi ? hi : value);
      }
    }

  auto const check = [&](isa cap) {
    got.assign(want.size(), Dst(7));
    gemm(row_major(lhs.data(), m, k, lhs_stride), packed, row_major(got.data(), m, n, dst_stride), e, {.max_isa = cap});
    if (std::memcmp(got.data(), want.data(), got.size() * sizeof(Dst)) == 0) return;
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < dst_stride; ++j) {
        auto const at = static_cast<std::size_t>(i * dst_stride + j);
        if (std::memcmp(&got[at], &want[at], sizeof(Dst)) != 0)
          disagree(Rescale::name, cap, m, n, k, i, j, static_cast<double>(got[at]), static_cast<double>(want[at]));
      }
    disagree(Rescale::name, cap, m, n, k, m, 0, 0, 0);
  };
#ifdef QUERN_LIBFUZZER
  for (isa i : all_isas)
    if (supported(i)) check(i);
#else
  // Each emulated instruction is a signal, some microseconds; one product in eight pays for them.
  static int products = 0;
  if (products++ % 8 == 0) support::for_each_isa(check);
  else support::for_each_native_isa(check);
#endif
}

void any_product(choices c) {
  switch (c.byte() % 10) {
    case 0: return one_product<std::uint8_t, std::int8_t, std::int32_t, no_rescale>(c);
    case 1: return one_product<std::int8_t, std::int8_t, std::int8_t, rescale::gemmlowp_double>(c);
    case 2: return one_product<std::uint8_t, std::int8_t, std::uint8_t, rescale::float_multiply<>>(c);
    case 3: return one_product<std::int8_t, std::uint8_t, std::int16_t, rescale::tflite_single>(c);
    case 4: return one_product<std::uint8_t, std::uint8_t, std::int8_t, to_real>(c);
    case 5: return one_product<std::int8_t, std::int8_t, float, to_real>(c);
    case 6: return one_product<std::uint8_t, s4, bfloat16, to_real>(c);
    case 7: return one_product<std::int8_t, std::int8_t, std::int32_t, no_rescale>(c);
    case 8: return one_product<std::uint8_t, std::uint8_t, std::int32_t, no_rescale>(c);
    default: return one_product<std::int8_t, s4, std::int32_t, no_rescale>(c);
  }
}

}  // namespace

#ifdef QUERN_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(unsigned char const* data, std::size_t size) {
  any_product({data, size});
  return 0;
}
#else
TEST_CASE("every kernel agrees with plain loops on generated products", "[gemm][fuzz]") {
  generated(20261121, 160, 400, any_product);
  REQUIRE(support::missed_isas() == "");
}
#endif
