// problem.hpp — a product with adversarial operands, and its exact accumulators.
#pragma once

#include <quern/ops/gemm.hpp>
#include <quern/reference/gemm.hpp>

#include "support/catch.hpp"
#include "support/isas.hpp"

#include <string>
#include <vector>

namespace gemm_test {

using namespace quern;

/// xorshift64*: the same numbers everywhere.
struct random_bits {
  std::uint64_t state = 0x9e3779b97f4a7c15u;
  explicit random_bits(std::uint64_t seed) : state(seed * 0x2545f4914f6cdd1du + 0x9e3779b97f4a7c15u) {}
  std::uint32_t operator()() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<std::uint32_t>((state * 0x2545f4914f6cdd1du) >> 32);
  }
  int between(int lo, int hi) { return lo + static_cast<int>((*this)() % static_cast<std::uint32_t>(hi - lo + 1)); }
};

enum class fill { lowest, highest, alternating, extremes, full, small };

template <class T>
std::vector<T> codes(index_t size, fill how, std::uint64_t seed, int lo = code_of_t<T>::min, int hi = code_of_t<T>::max) {
  std::vector<T> v(static_cast<std::size_t>(size));
  random_bits random(seed);
  for (std::size_t i = 0; i < v.size(); ++i) switch (how) {
      case fill::lowest: v[i] = static_cast<T>(lo); break;
      case fill::highest: v[i] = static_cast<T>(hi); break;
      case fill::alternating: v[i] = static_cast<T>(i % 2 == 0 ? lo : hi); break;
      case fill::extremes: {
        int const some[] = {lo, lo + 1, -1, 0, 1, hi - 1, hi, lo};
        int const x = some[random() % 8];
        v[i] = static_cast<T>(x < lo ? lo : x);
        break;
      }
      case fill::full: v[i] = static_cast<T>(random.between(lo, hi)); break;
      case fill::small: v[i] = static_cast<T>(random.between(lo / 2 < -64 ? -64 : lo / 2, hi < 64 ? hi : 64)); break;
    }
  return v;
}

template <class Lhs, class Rhs>
struct problem {
  index_t m, n, k;
  std::vector<Lhs> lhs;
  std::vector<Rhs> rhs;
  std::vector<std::int32_t> lhs_zeros, rhs_zeros, bias;  // one, or m; one, or n; none, or n
  std::vector<std::int32_t> acc;                         // exact, with bias

  problem(index_t m_, index_t n_, index_t k_, fill a, fill b, int zeros, bool with_bias, std::uint64_t seed)
      : m(m_), n(n_), k(k_), lhs(codes<Lhs>(m * k, a, seed)), rhs(codes<Rhs>(k * n, b, seed + 1)),
        acc(static_cast<std::size_t>(m * n)) {
    random_bits random(seed + 2);
    auto const zero = [&](auto of) { return random.between(code_of_t<decltype(of)>::min, code_of_t<decltype(of)>::max); };
    lhs_zeros.resize(zeros == 2 ? static_cast<std::size_t>(m) : 1);
    rhs_zeros.resize(zeros == 2 ? static_cast<std::size_t>(n) : 1);
    if (zeros == 3) lhs_zeros.assign(static_cast<std::size_t>(m), 0);
    if (zeros != 0 && zeros != 4)
      for (auto& z : lhs_zeros) z = zero(Lhs{});
    if (zeros != 0 && zeros != 3)
      for (auto& z : rhs_zeros) z = zero(Rhs{});
    if (with_bias) {
      bias.resize(static_cast<std::size_t>(n));
      for (auto& x : bias) x = static_cast<std::int32_t>(random()) >> 8;
    }
    reference::gemm<Lhs, Rhs>(lhs_view(), each(lhs_zeros), rhs_view(), each(rhs_zeros), {bias.data(), static_cast<index_t>(bias.size())},
                              row_major(acc.data(), m, n));
  }

  matrix_view<Lhs const> lhs_view() const { return {lhs.data(), m, k, k, 1}; }
  matrix_view<Rhs const> rhs_view() const { return {rhs.data(), k, n, n, 1}; }
  vector_view<std::int32_t const> each(std::vector<std::int32_t> const& v) const {
    return {v.data(), static_cast<index_t>(v.size()), v.size() > 1 ? 1 : 0};
  }
  one_or_each<std::int32_t> zero_of(std::vector<std::int32_t> const& v, index_t count) const {
    if (v.size() == 1 && count != 1) return v[0];
    return vector_view<std::int32_t const>{v.data(), count, v.size() > 1 ? 1 : 0};
  }
  template <class E>
  void fill_in(E& e) const {
    e.lhs_zero_point = zero_of(lhs_zeros, m);
    e.rhs_zero_point = zero_of(rhs_zeros, n);
    e.bias = {bias.data(), static_cast<index_t>(bias.size()), 1};
  }
};

template <class T>
std::string difference(std::vector<T> const& got, std::vector<T> const& want, index_t n) {
  for (std::size_t i = 0; i < want.size(); ++i)
    if (got[i] != want[i])
      return "(" + std::to_string(static_cast<index_t>(i) / n) + ", " + std::to_string(static_cast<index_t>(i) % n) + ") is " +
             std::to_string(static_cast<double>(got[i])) + ", not " + std::to_string(static_cast<double>(want[i]));
  return "";
}

}  // namespace gemm_test
