// What codes, shapes, packing, linear layers and batches refuse beside what their own rooms' tests show.
#include "refusal.hpp"

#include <quern/convert/packed.hpp>
#include <quern/core/packed_int.hpp>
#include <quern/core/shape.hpp>
#include <quern/dispatch/gemm_plan.hpp>
#include <quern/ops/gemm_batch.hpp>
#include <quern/ops/linear.hpp>
#include <quern/pack/packed_matrix.hpp>
#include <quern/scheme/schemes.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

using namespace quern;

TEST_CASE("packed codes: room and memory", "[errors][core]") {
  std::int8_t values[6] = {};
  std::uint8_t bytes[3] = {0x55, 0x55, 0x55};
  packed_view<s4> const few{bytes, 5}, enough{bytes, 6}, nowhere{nullptr, 6};
  refuses(errc::capacity, "dst holds 5 elements, src has 6", [&] { pack_codes(view(values), few); });
  refuses(errc::null, "pack_codes: dst is null", [&] { pack_codes(view(values), nowhere); });
  refuses(errc::null, "pack_codes: src is null", [&] { pack_codes(vector_view<std::int8_t>{nullptr, 6, 1}, enough); });
  refuses(errc::capacity, "dst has 5 elements, src 6", [&] { unpack_codes(enough, vector_view<std::int8_t>{values, 5, 1}); });
  refuses(errc::null, "unpack_codes: src is null", [&] { unpack_codes(nowhere, view(values)); });
  refuses(errc::null, "unpack_codes: dst is null", [&] { unpack_codes(enough, vector_view<std::int8_t>{nullptr, 6, 1}); });
  float x[6] = {};
  params<symmetric<s4>> const p{.scale = 1.0f};
  refuses(errc::shape, "an extent must not be negative", [&] { quantize(vector_view<float>{x, -1, 1}, p, few); });
  for (std::uint8_t b : bytes) CHECK(b == 0x55);
}

TEST_CASE("shapes: permutations, slices and broadcasts", "[errors][core]") {
  std::int8_t x[24] = {};
  auto const v = nd(x, make_shape(2, 3, 4));
  int const twice[] = {0, 1, 1}, beyond[] = {0, 1, 3}, below[] = {-1, 1, 2};
  refuses(errc::argument, "entry 2 of the permutation is 1", [&] { transposed(v, twice); });
  refuses(errc::argument, "entry 2 of the permutation is 3", [&] { transposed(v, beyond); });
  refuses(errc::argument, "entry 0 of the permutation is -1", [&] { transposed(v, below); });
  refuses(errc::shape, "positions 2 to 4 of dimension 2 are outside of its 4", [&] { sliced(v, 2, 2, 3); });
  refuses(errc::shape, "are outside of its 3", [&] { sliced(v, 1, 1, 3, -1); });
  refuses(errc::shape, "are outside", [&] { sliced(v, 0, 0, -1); });
  refuses(errc::shape, "dimension 0 has size 2; it must be 1 or 5", [&] { broadcast(v, make_shape(5, 3, 4)); });
  refuses(errc::shape, "rank 3 does not fit rank 2", [&] { broadcast(v, make_shape(3, 4)); });
  refuses(errc::shape, "sizes 4 and 3 meet in dimension 2", [&] { broadcast_shape(make_shape(2, 3, 4), make_shape(3)); });
}

TEST_CASE("packing: sizes beyond what a layout can say, no memory", "[errors][pack]") {
  std::int8_t w[4] = {};
  refuses(errc::shape, "packed weights hold at most 2^40", [&] { packed_size<std::int8_t>(1 << 20, index_t{1} << 40); });
  refuses(errc::null, "load_packed_copy: memory is null", [&] { load_packed_copy<std::int8_t>(nullptr, 10); });
  refuses(errc::shape, "sizes must not be negative", [&] { pack(row_major(w, -2, 2)); });
  // A group longer than k is one group, however long: sizes must not wrap.
  index_t const longest = 9223372036854775804;
  CHECK(packed_size<std::int8_t>(2, 2, {longest}) == packed_size<std::int8_t>(2, 2, {4}));
  auto const one = pack(row_major(w, 2, 2), {longest});
  CHECK(one.groups() == 1);
  CHECK(load_packed_copy<std::int8_t>(one.bytes(), one.size()).group() == longest);
  float const reals[4] = {1, 2, 3, 4};
  CHECK(quantize_linear_weights(row_major(reals, 2, 2), {}, {longest}).scales.size() == 2);
}

TEST_CASE("strides that no memory has are an overlap or not, but no overflow", "[errors][core]") {
  std::uint8_t x[8] = {};
  std::int8_t w[4] = {};
  std::int32_t y[8] = {};
  float r[8] = {};
  index_t const far = 9223372036854775807;
  auto const packed = pack(row_major(w, 2, 2));
  for (index_t const stride : {far, -far, far / 2}) {  // the sanitizers watch; that either mistake is told is enough
    CHECK_THROWS_AS(gemm(matrix_view<std::uint8_t const>{x, 3, 2, stride, 1}, packed, matrix_view<std::int32_t>{y + 2, 3, 2, -stride, 1}, epilogue<>{.lhs_zero_point = 999}), error);
    CHECK_THROWS_AS(quantize(vector_view<float const>{r, 4, stride}, params<asymmetric<u8>>{.scale = -1.0f}, vector_view<std::uint8_t>{x, 4, -stride}), error);
  }
}

TEST_CASE("linear: every operand's shape and memory", "[errors][linear]") {
  std::vector<float> w(6, 0.5f), x(6, 1.0f), y(4, 7.0f), bias(2, 1.0f);
  auto const layer = quantize_linear_weights(row_major(w.data(), 3, 2));
  auto const in = row_major(x.data(), 2, 3), out = row_major(y.data(), 2, 2);
  params<asymmetric<s8>> const p{.scale = 1.0f, .zero_point = 0};
  refuses(errc::shape, "x is -2 x 3", [&] { dynamic_linear(row_major(x.data(), -2, 3), layer, out); });
  refuses(errc::shape, "y is 1 x 2; it must be 2 x 2", [&] { dynamic_linear(in, layer, row_major(y.data(), 1, 2)); });
  refuses(errc::null, "x is null, but 2 x 3", [&] { linear(matrix_view<float>{nullptr, 2, 3, 3, 1}, p, layer, out); });
  refuses(errc::null, "y is null, but 2 x 2", [&] { linear(in, p, layer, matrix_view<float>{nullptr, 2, 2, 2, 1}); });
  for (float bad : {0.0f, -1.0f, NAN, INFINITY})
    refuses(errc::scale, "linear: the scale is", [&] { linear(in, params<asymmetric<s8>>{bad, 0}, layer, out); });
  refuses(errc::zero_point, "zero point", [&] { linear(in, params<asymmetric<s8>>{1.0f, 128}, layer, out); });
  refuses(errc::shape, "w is 3 x -2", [&] { (void)quantize_linear_weights(row_major(w.data(), 3, -2)); });
  refuses(errc::null, "w is null, but 3 x 2", [&] { (void)quantize_linear_weights(matrix_view<float>{nullptr, 3, 2, 2, 1}); });
  refuses(errc::shape, "bias has 1 elements, w 2 columns", [&] { (void)quantize_linear_weights(row_major(w.data(), 3, 2), {bias.data(), 1, 1}); });
  refuses(errc::null, "bias is null, but has 2", [&] { (void)quantize_linear_weights(row_major(w.data(), 3, 2), {nullptr, 2, 1}); });
  for (float v : y) CHECK(v == 7.0f);
}

TEST_CASE("products: plans, batches, groups, clamps and residuals", "[errors][gemm]") {
  std::vector<std::uint8_t> lhs(2 * 2 * 16);
  std::vector<std::int8_t> rhs(2 * 16 * 3), dst(2 * 2 * 3, 77);
  std::vector<float> scales(6, 1.0f);
  std::vector<std::int32_t> zeros(6);
  auto const x = row_major(lhs.data(), 2, 16);
  auto const y = row_major(dst.data(), 2, 3);
  auto const w = pack(row_major(rhs.data(), 16, 3)), grouped = pack(row_major(rhs.data(), 16, 3), {.group = 8});
  alignas(64) unsigned char room[64];
  gemm_options const with_room{.workspace = {room, 64}};
  batch_view<std::uint8_t> const xs{x, 2, 32};
  batch_view<std::int8_t> const ws{row_major(rhs.data(), 16, 3), 2, 48}, ys{y, 2, 6};

  refuses(errc::shape, "gemm_plan: -1 x 2 x 3", [&] { (void)gemm_plan(-1, 2, 3); });
  refuses(errc::shape, "count is -1", [&] { gemm_list<std::uint8_t, std::int8_t, std::int8_t, epilogue<>>(nullptr, -1); });
  refuses(errc::argument, "gemm_list: takes no workspace", [&] { gemm_list<std::uint8_t, std::int8_t, std::int8_t, epilogue<>>(nullptr, 0, with_room); });
  refuses(errc::argument, "gemm_batch: takes no workspace", [&] { gemm_batch(xs, w, ys, epilogue<>{}, with_room); });
  refuses(errc::shape, "lhs has 2 matrices, rhs 1, dst 2", [&] { gemm_batch(xs, batch_view<std::int8_t>{ws.first, 1, 48}, ys); });
  refuses(errc::argument, "gemm_batch: takes no workspace", [&] { gemm_batch(xs, ws, ys, epilogue<>{}, with_room); });
  refuses(errc::overlap, "dst.stride is 0", [&] { gemm_batch(xs, ws, batch_view<std::int8_t>{y, 2, 0}); });
  refuses(errc::shape, "lhs has 16 columns, rhs 15 rows", [&] { gemm_batch(xs, batch_view<std::int8_t>{row_major(rhs.data(), 15, 3), 2, 48}, ys); });
  refuses(errc::argument, "the clamp is [5, 4]", [&] { gemm(x, w, y, epilogue<>{.min = 5, .max = 4}); });
  using with_residual = epilogue<to_real, residual<std::int8_t, to_real>>;
  refuses(errc::null, "epilogue.residual is null", [&] { gemm(x, w, y, with_residual{.residual = {.from = {nullptr, 2, 3, 3, 1}, .rescale = 1.0f}}); });

  auto const groups = row_major<float const>(scales.data(), 2, 3);
  using real = epilogue<to_real>;
  refuses(errc::null, "rescale.groups is null", [&] { gemm(x, grouped, y, real{.rescale = {.groups = {nullptr, 2, 3, 3, 1}}}); });
  refuses(errc::shape, "group_zero_points is 1 x 3; it must be 2 x 3",
          [&] { gemm(x, grouped, y, real{.rescale = {.groups = groups, .group_zero_points = row_major(zeros.data(), 1, 3)}}); });
  refuses(errc::null, "group_zero_points is null",
          [&] { gemm(x, grouped, y, real{.rescale = {.groups = groups, .group_zero_points = {nullptr, 2, 3, 3, 1}}}); });
  zeros[4] = 128;
  refuses(errc::zero_point, "group_zero_points(1, 1) is 128",
          [&] { gemm(x, grouped, y, real{.rescale = {.groups = groups, .group_zero_points = row_major(zeros.data(), 2, 3)}}); });
  refuses(errc::argument, "epilogue.bias has no scale", [&] { gemm(x, grouped, y, real{.bias = {zeros.data(), 3, 1}, .rescale = {.groups = groups}}); });
  refuses(errc::argument, "gemm_options.wide is not for weights in groups", [&] { gemm(x, grouped, y, real{.rescale = {.groups = groups}}, {.wide = true}); });
  for (std::int8_t v : dst) CHECK(v == 77);
}
