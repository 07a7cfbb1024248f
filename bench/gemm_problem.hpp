// gemm_problem.hpp — the products that every library multiplies, and the exact answers.
//
// Activations cover their whole type, weights -127..127 (s7: -64..63, for which vpmaddubsw cannot saturate). Weights are
// packed outside of the timing; the fused destination adds an int32 bias and requantizes by channel.
#pragma once

#include "peaks.hpp"
#include "support.hpp"

#include <cmath>
#include <memory>

namespace quern::bench {

struct shape {
  index_t m, n, k;
};
inline std::string to_string(shape s) {
  return std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
}
inline double ops(shape s) {
  return 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
}

/// What a product of few rows waits for is its weights: their bytes; 0 for the others.
inline double weight_bytes(shape s, double bits = 8) {
  return s.m <= 16 && s.k * s.n > 1000000 ? static_cast<double>(s.k * s.n) * bits / 8 : 0;
}

inline constexpr shape gemm_shapes[] = {{1, 4096, 4096},  {4, 4096, 4096},  {16, 4096, 4096},   {1, 1000, 2048},    {32, 100, 37},
                                        {64, 64, 64},     {128, 768, 768},  {128, 3072, 768},   {197, 768, 3072},   {256, 256, 256},
                                        {512, 512, 512},  {1024, 1024, 1024}, {2048, 2048, 2048}, {3136, 64, 576}};

inline std::string gemm_name(std::string const& library, std::string const& isa_name, std::string const& types, shape s,
                             int threads = 1) {
  return "gemm/" + library + "/" + isa_name + "/" + types + "/" + to_string(s) + "/threads:" + std::to_string(threads);
}

/// lhs m x k, rhs k x n (row-major), bias and scale by column, and the exact answer for some rows.
template <class Lhs>
struct gemm_problem {
  shape s;
  buffer<Lhs> lhs;
  buffer<std::int8_t> rhs;
  buffer<std::int32_t> bias;
  buffer<float> scale;
  std::vector<index_t> rows;        // those that are checked: all of them while that is quick
  std::vector<std::int32_t> acc;    // rows.size() x n

  explicit gemm_problem(shape p, int weight_min = -127, int weight_max = 127)
      : s(p),
        lhs(random_integers<Lhs>(p.m * p.k, std::is_signed_v<Lhs> ? -128 : 0, std::is_signed_v<Lhs> ? 127 : 255, 1)),
        rhs(random_integers<std::int8_t>(p.k * p.n, weight_min, weight_max, 2)),
        bias(random_integers<std::int32_t>(p.n, -20000, 20000, 3)),
        scale(p.n) {
    // Typical |acc| is 74 * 73 * sqrt(k); this maps three times that to 127.
    for (index_t j = 0; j < p.n; ++j)
      scale[j] = static_cast<float>(127.0 / (3 * 5400 * std::sqrt(static_cast<double>(p.k))) * (0.75 + 0.5 * static_cast<double>(j % 97) / 97));
    index_t const few = ops(p) < 2e8 ? p.m : std::min<index_t>(p.m, 24);
    for (index_t r = 0; r < few; ++r) rows.push_back(few == p.m ? r : r * (p.m - 1) / (few - 1));
    acc.assign(rows.size() * static_cast<std::size_t>(p.n), 0);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      std::int32_t* const out = acc.data() + r * static_cast<std::size_t>(p.n);
      for (index_t k = 0; k < p.k; ++k) {
        std::int32_t const a = lhs[rows[r] * p.k + k];
        std::int8_t const* const b = rhs.data() + k * p.n;
        for (index_t j = 0; j < p.n; ++j) out[j] += a * b[j];
      }
    }
  }

  void check_s32(check& c, std::int32_t const* dst) const {
    std::vector<std::int32_t> got;
    for (index_t r : rows) got.insert(got.end(), dst + r * s.n, dst + (r + 1) * s.n);
    c.compare(got.data(), acc.data(), static_cast<index_t>(acc.size()));
  }
  /// Against round-half-even of acc * scale, the product rounded to `Real`: double is exact here and judges the rivals, float is
  /// what quern's epilogue<to_real> promises. Dst is int8 (or uint8 with zero point 128).
  template <class Dst, class Real = double>
  void check_fused(check& c, Dst const* dst) const {
    std::vector<Dst> got, expected;
    int const low = std::is_signed_v<Dst> ? -128 : 0;
    for (std::size_t r = 0; r < rows.size(); ++r)
      for (index_t j = 0; j < s.n; ++j) {
        std::int32_t const sum = acc[r * static_cast<std::size_t>(s.n) + static_cast<std::size_t>(j)] + bias[j];
        Real const real = static_cast<Real>(sum) * static_cast<Real>(scale[j]);
        expected.push_back(static_cast<Dst>(std::min(std::max(std::nearbyint(static_cast<double>(real)), -128.0), 127.0) + (low + 128)));
        got.push_back(dst[rows[r] * s.n + j]);
      }
    c.compare(got.data(), expected.data(), static_cast<index_t>(got.size()));
  }
};

}  // namespace quern::bench
