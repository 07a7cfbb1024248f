// support.hpp — random layers and refusals for the tests of this folder.
#pragma once

#include <quern/core/error.hpp>
#include <quern/core/views.hpp>

#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace compress_test {

struct matrix {
  quern::index_t rows = 0, cols = 0;
  std::vector<float> values;

  matrix(quern::index_t r, quern::index_t c) : rows(r), cols(c), values(static_cast<std::size_t>(r * c)) {}
  float& operator()(quern::index_t i, quern::index_t j) { return values[static_cast<std::size_t>(i * cols + j)]; }
  float operator()(quern::index_t i, quern::index_t j) const { return values[static_cast<std::size_t>(i * cols + j)]; }
  quern::matrix_view<float> view() { return {values.data(), rows, cols, cols, 1}; }
  quern::matrix_view<float const> view() const { return {values.data(), rows, cols, cols, 1}; }
};

inline matrix gaussian(quern::index_t rows, quern::index_t cols, unsigned seed, float sigma = 1) {
  matrix m(rows, cols);
  std::mt19937 g(seed);
  std::normal_distribution<float> d(0, sigma);
  for (float& v : m.values) v = d(g);
  return m;
}

// Inputs whose channels are correlated and differ in size, as activations are.
inline matrix correlated(quern::index_t samples, quern::index_t cols, unsigned seed) {
  matrix x = gaussian(samples, cols, seed), mix = gaussian(cols, cols, seed + 1, 0.3f), y(samples, cols);
  for (quern::index_t i = 0; i < samples; ++i)
    for (quern::index_t j = 0; j < cols; ++j) {
      float sum = x(i, j);
      for (quern::index_t k = 0; k < cols; ++k) sum += mix(k, j) * x(i, k);
      y(i, j) = sum * (1 + 3 * static_cast<float>(j % 5 == 0));
    }
  return y;
}

template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (quern::error const& e) {
    return e.what();
  }
  return "";
}

}  // namespace compress_test
