#include <quern/calibrate/min_max.hpp>
#include <quern/eigen/tensor.hpp>

#include "support/catch.hpp"

using namespace quern;

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
