// What convolutions, pools and the layers that move codes refuse beside what their own rooms' tests show.
#include "refusal.hpp"

#include <quern/ops/arena.hpp>
#include <quern/ops/batch_matmul.hpp>
#include <quern/ops/conv2d.hpp>
#include <quern/ops/depthwise.hpp>
#include <quern/ops/elementwise.hpp>
#include <quern/ops/pool.hpp>
#include <quern/ops/rearrange.hpp>
#include <quern/ops/reduce.hpp>
#include <quern/ops/resize.hpp>
#include <quern/ops/table.hpp>

#include <cstdint>
#include <string>
#include <vector>

using namespace quern;

namespace {

std::int8_t x[512], w[512], y[512];
tensor_view<std::int8_t const> from(index_t h, index_t wide, index_t c, index_t n = 1) { return nhwc<std::int8_t const>(x, n, h, wide, c); }
tensor_view<std::int8_t> to(index_t h, index_t wide, index_t c, index_t n = 1) { return nhwc(y, n, h, wide, c); }

auto const same_code = [](auto v) { return static_cast<std::int32_t>(v); };

}  // namespace

TEST_CASE("windows: kernels, strides, padding and sizes that make none", "[errors][conv]") {
  refuses(errc::argument, "each must be at least 1", [] { (void)sliding_axis("op", "height", 5, 0, 1, 1, padding_rule::same, 0, 0); });
  refuses(errc::shape, "the input's height is 0", [] { (void)sliding_axis("op", "height", 0, 1, 1, 1, padding_rule::same, 0, 0); });
  refuses(errc::argument, "is -1 before and 0 after", [] { (void)sliding_axis("op", "height", 5, 1, 1, 1, padding_rule::given, -1, 0); });
  refuses(errc::shape, "the window reaches over 7 positions", [] { (void)sliding_axis("op", "height", 5, 7, 1, 1, padding_rule::given, 0, 0); });
  refuses(errc::argument, "each must be at least 1", [] { (void)spreading_axis("op", "width", 5, 1, 0, 1, padding_rule::same, 0, 0, 0); });
  refuses(errc::shape, "the input's width is 0", [] { (void)spreading_axis("op", "width", 0, 1, 1, 1, padding_rule::same, 0, 0, 0); });
  refuses(errc::argument, "it must not be negative", [] { (void)spreading_axis("op", "width", 5, 1, 1, 1, padding_rule::given, 0, -1, 0); });
  refuses(errc::shape, "the output has 99 positions", [] { (void)spreading_axis("op", "width", 5, 1, 1, 1, padding_rule::given, 0, 0, 99); });
  refuses(errc::shape, "the output has 99 positions", [] { (void)spreading_axis("op", "width", 5, 1, 1, 1, padding_rule::same, 0, 0, 99); });
  index_t const far = index_t{1} << 62;  // their products would leave index_t
  for (index_t const stride : {far, index_t{1}})
    for (index_t const padding : {far, index_t{0}}) {
      index_t const dilation = stride > 1 || padding > 0 ? 1 : far;
      refuses(errc::shape, "along the height must be below 2^31", [&] { (void)sliding_axis("op", "height", 5, 3, stride, dilation, padding_rule::given, padding, 0); });
      refuses(errc::shape, "along the width must be below 2^31", [&] { (void)spreading_axis("op", "width", 5, 3, stride, dilation, padding_rule::given, 0, padding, 0); });
    }
  refuses(errc::shape, "along the width must be below 2^31", [&] { (void)spreading_axis("op", "width", far, 3, 1, 1, padding_rule::same, 0, 0, 0); });
  refuses(errc::shape, "it must be NHWC (4) or NDHWC (5)", [] { (void)output_shape(make_shape(4, 4, 3), pool_options{}); });
  refuses(errc::argument, "the multiplier is 0", [] { (void)depthwise_output_shape(make_shape(1, 4, 4, 3), {1, 1}, 0); });
  shape const parts[] = {make_shape(2, 3), make_shape(3, 3)};
  refuses(errc::argument, "there are 0 parts", [&] { (void)concatenated_shape(parts, 0, 0); });
  refuses(errc::argument, "dimension 2 does not exist in rank 2", [&] { (void)concatenated_shape(parts, 2, 2); });
  refuses(errc::shape, "part 1 has 3 in dimension 0, part 0 has 2", [&] { (void)concatenated_shape(parts, 2, 1); });
}

TEST_CASE("conv2d: batches, memory, epilogues and kernels that do not fit", "[errors][conv]") {
  auto const filter = nhwc<std::int8_t const>(w, 4, 3, 3, 2);
  auto const packed = pack_conv(filter, {.padding = same});
  auto const src = from(5, 5, 2);
  auto const dst = to(5, 5, 4);
  float const reals[5] = {1, 1, 1, 1, 1};
  std::int32_t const numbers[5] = {};
  refuses(errc::shape, "src has batch 2, dst 1", [&] { conv2d(from(5, 5, 2, 2), packed, dst); });
  refuses(errc::null, "dst is null", [&] { conv2d(src, packed, tensor_view<std::int8_t>{nullptr, 1, 5, 5, 4, 100, 20, 4, 1}); });
  refuses(errc::argument, "has one zero point", [&] { conv2d(src, packed, dst, epilogue<>{.lhs_zero_point = vector_view<std::int32_t const>{numbers, 5, 1}}); });
  refuses(errc::argument, "output positions share one", [&] { conv2d(src, packed, dst, epilogue<to_real>{.rescale = {.rows = vector_view<float const>{reals, 5, 1}}}); });
  refuses(errc::shape, "has 5 scales and 0 biases; dst has 4", [&] { conv2d(src, packed, dst, epilogue<to_real>{.rescale = {.cols = vector_view<float const>{reals, 5, 1}}}); });
  refuses(errc::shape, "each size must be at least 1", [&] { (void)pack_conv(nhwc<std::int8_t const>(w, 4, 0, 3, 2)); });
  index_t const many = index_t{1} << 31;
  refuses(errc::shape, "must be below 2^31", [&] { (void)pack_conv(filter, {.dilation = {many, 1}}); });
  refuses(errc::argument, "the stride is 1 x 1000 x 1000; a transposed", [&] { (void)pack_transposed_conv(filter, {.stride = {1000, 1000}}); });
  refuses(errc::depth, "packed weights hold at most 16000000", [&] { (void)pack_conv(tensor_view<std::int8_t const>{w, 4, many, many, many}); });
  refuses(errc::shape, "they may be at most 2^40", [&] { (void)pack_depthwise(tensor_view<std::int8_t const>{w, 1, many, many, many}); });
  alignas(64) static unsigned char room[4096];
  refuses(errc::capacity, "memory has 64 bytes", [&] { (void)pack_conv(filter, {}, {room, 64}); });
  refuses(errc::argument, "64-byte boundary", [&] { (void)pack_conv(filter, {}, {room + 1, 4095}); });
  refuses(errc::shape, "to_nhwc: src and dst differ", [&] { to_nhwc(src, dst); });
  refuses(errc::null, "to_nhwc: src is null", [&] { to_nhwc(tensor_view<std::int8_t const>{nullptr, 1, 5, 5, 4, 100, 20, 4, 1}, dst); });
  refuses(errc::shape, "conv: along the height the window reaches over 7 positions, but the padded input has only 5",
          [&] { conv2d(src, pack_conv(nhwc<std::int8_t const>(w, 4, 7, 3, 2)), to(1, 3, 4)); });
  refuses(errc::shape, "conv: along the width the window reaches over 9 positions, but the padded input has only 6",
          [&] { conv2d(src, pack_conv(nhwc<std::int8_t const>(w, 4, 1, 5, 2), {.dilation = {1, 2}, .padding = pad(0, 0, 1, 0)}), to(5, 1, 4)); });
  refuses(errc::shape, "leave an output of -1; it must be at least 1",
          [&] { transposed_conv2d(from(1, 1, 2), pack_transposed_conv(nhwc<std::int8_t const>(w, 4, 1, 1, 2), {.padding = pad(1, 1, 0, 0)}), to(0, 1, 4)); });
  refuses(errc::shape, "conv: dst is 1 x 0 x 5 x 4; it must be 1 x 5 x 5 x 4 (depth, height, width, channels)", [&] { conv2d(src, packed, to(0, 5, 4)); });
  refuses(errc::shape, "conv: the input's width is 0; it must be at least 1", [&] { conv2d(from(5, 0, 2), packed, to(5, 0, 4)); });
  refuses(errc::shape, "the filter has 0 outputs and 2 inputs; each must be at least 1", [&] { (void)pack_conv(nhwc<std::int8_t const>(w, 0, 3, 3, 2)); });
  refuses(errc::shape, "6 input and 4 output channels are not divisible by 3 groups", [&] { (void)pack_conv(filter, {.groups = 3}); });
  refuses(errc::shape, "conv: 5 input and 4 output channels are not divisible by 2 groups",
          [&] { conv2d(from(5, 5, 5), pack_conv(filter, {.padding = same, .groups = 2}), dst); });
  refuses(errc::shape, "conv: the source has 3 channels in 1 groups, but the filter takes 2 a group; it must take 3", [&] { conv2d(from(5, 5, 3), packed, dst); });
  refuses(errc::argument, "conv: the weights were packed for transposed_conv2d; pack them with pack_conv",
          [&] { conv2d(src, pack_transposed_conv(filter, {.padding = same}), dst); });
  refuses(errc::argument, "transposed_conv2d: the weights were packed for conv2d; pack them with pack_transposed_conv", [&] { transposed_conv2d(src, packed, dst); });
  refuses(errc::null, "conv: the packed weights are empty; pack_conv makes them", [&] { conv2d(src, packed_conv<std::int8_t>{}, dst); });
  epilogue<rescale::tflite_single, residual<std::int8_t, rescale::tflite_single>> short_residual{};
  short_residual.residual.from = row_major(static_cast<std::int8_t const*>(x), 24, 4);
  refuses(errc::shape, "conv: epilogue.residual is 24 x 4, dst 25 x 4; they must be equal", [&] { conv2d(src, packed, dst, short_residual); });
  refuses(errc::argument, "conv: lhs_range is [-129, 5]; src holds -128 to 127", [&] { conv2d(src, packed, dst, epilogue<>{}, {.lhs_range = {-129, 5}}); });
  index_t const needed = conv_workspace(src, packed, dst);
  refuses(errc::capacity, ("conv: workspace has 64 bytes; this call needs " + std::to_string(needed) + " (conv_workspace)").c_str(),
          [&] { conv2d(src, packed, dst, epilogue<>{}, {.workspace = {room, 64}}); });
  refuses(errc::argument, "conv: workspace starts 1 bytes behind a 64-byte boundary; it must start on one",
          [&] { conv2d(src, packed, dst, epilogue<>{}, {.workspace = {room + 1, 4032}}); });
  auto const taps = pack_depthwise(nhwc<std::int8_t const>(w, 1, 3, 3, 2), {.padding = same});
  refuses(errc::null, "depthwise_conv2d: the packed weights are empty; pack_depthwise makes them", [&] { depthwise_conv2d(src, packed_depthwise<std::int8_t>{}, to(5, 5, 2)); });
  refuses(errc::shape, "depthwise_conv2d: src has 3 channels, the weights 2 outputs; the outputs must be a multiple", [&] { depthwise_conv2d(from(5, 5, 3), taps, to(5, 5, 2)); });
  refuses(errc::shape, "depthwise_conv2d: dst is 1 x 0 x 5 x 2; it must be 1 x 5 x 5 x 2", [&] { depthwise_conv2d(src, taps, to(0, 5, 2)); });
  refuses(errc::shape, "depthwise_conv2d: along the height the window reaches over 3 positions, but the padded input has only 2",
          [&] { depthwise_conv2d(from(2, 5, 2), pack_depthwise(nhwc<std::int8_t const>(w, 1, 3, 3, 2)), to(0, 3, 2)); });
  refuses(errc::capacity, "depthwise_conv2d: workspace has 64 bytes", [&] { depthwise_conv2d(src, taps, to(5, 5, 2), epilogue<>{}, {.workspace = {room, 64}}); });
  refuses(errc::argument, "stride and dilation must be at least 1", [&] { (void)pack_depthwise(nhwc<std::int8_t const>(w, 1, 3, 3, 2), {.stride = {0, 1}}); });
  refuses(errc::null, "depthwise_conv2d: dst is null", [&] { depthwise_conv2d(src, taps, tensor_view<std::int8_t>{nullptr, 1, 5, 5, 2, 50, 10, 2, 1}); });
  refuses(errc::shape, "they must be adjacent", [&] { depthwise_conv2d(nchw<std::int8_t const>(x, 1, 2, 5, 5), taps, to(5, 5, 2)); });
}

TEST_CASE("layers that move and gather codes: shapes and memory", "[errors][layers]") {
  auto const v = nd<std::int8_t const>(x, make_shape(2, 3, 4));
  auto const out = nd(y, make_shape(2, 3, 4)), other = nd(y, make_shape(2, 12)), nowhere = nd<std::int8_t>(nullptr, make_shape(2, 3, 4));
  auto const missing = nd<std::int8_t const>(nullptr, make_shape(2, 3, 4));
  index_t const before[3] = {};
  refuses(errc::shape, "copy: src has 24 elements in rank 3, dst 24 in rank 2", [&] { copy(v, other); });
  refuses(errc::null, "copy: dst is null", [&] { copy(v, nowhere); });
  refuses(errc::shape, "binary: dimension 1 of dst is -3; sizes must not be negative",
          [&] { binary(v, v, nd(y, make_shape(2, -3, 4)), minimum{}); });
  refuses(errc::null, "fill: dst is null", [&] { fill(nowhere, std::int8_t{1}); });
  refuses(errc::shape, "pad: src has rank 3, dst 2", [&] { pad_tensor(v, before, std::int8_t{0}, other); });
  refuses(errc::shape, "place: part has rank 3, dst 2", [&] { place(v, 0, 0, other, same_code); });
  refuses(errc::shape, "unary: src has 24 elements in rank 3", [&] { unary(v, other, same_code); });
  refuses(errc::null, "unary: an operand is null", [&] { unary(v, nowhere, same_code); });
  refuses(errc::argument, "the block is 0", [&] { space_to_depth(from(4, 4, 2), 0, to(2, 2, 8)); });
  refuses(errc::shape, "space_to_depth: src is 4 x 4 x 2", [&] { space_to_depth(from(4, 4, 2), 2, to(2, 2, 4)); });
  refuses(errc::argument, "the block is 0", [&] { depth_to_space(from(2, 2, 8), 0, to(4, 4, 2)); });
  refuses(errc::shape, "depth_to_space: src is 2 x 2 x 8", [&] { depth_to_space(from(2, 2, 8), 2, to(4, 4, 3)); });
  refuses(errc::shape, "reduce: src has rank 3, dst 2", [&] { reduce(v, 1, other, same_code); });
  refuses(errc::shape, "dst has 2 in dimension 0; it must have 1", [&] { reduce(v, 1, out, same_code); });
  refuses(errc::shape, "dimension 1 of src is empty", [&] { reduce(nd<std::int8_t const>(x, make_shape(2, 0)), 0, nd(y, make_shape(2, 0)), same_code); });
  refuses(errc::null, "reduce: src is null", [&] { reduce(missing, 0, out, same_code); });
  auto const row = [](std::int8_t const*, std::int8_t*, index_t) {};
  refuses(errc::shape, "by_rows: the shapes", [&] { by_rows(v, other, row); });
  refuses(errc::null, "by_rows: src is null", [&] { by_rows(missing, out, row); });
  refuses(errc::shape, "must be contiguous", [&] { by_rows(sliced(nd<std::int8_t const>(x, make_shape(2, 3, 8)), 2, 0, 4), out, row); });
  byte_table<std::int8_t, std::int8_t> const table{};
  refuses(errc::shape, "apply: src has 4 elements, dst 5", [&] { apply(table, vector_view<std::int8_t const>{x, 4, 1}, vector_view<std::int8_t>{y, 5, 1}); });
  refuses(errc::null, "apply: src is null", [&] { apply(table, vector_view<std::int8_t const>{nullptr, 4, 1}, vector_view<std::int8_t>{y, 4, 1}); });
  refuses(errc::shape, "src has batch 1 and 2 channels, dst 1 and 3", [&] { resize_nearest(from(2, 2, 2), to(4, 4, 3)); });
  refuses(errc::shape, "an image is empty", [&] { resize_nearest(from(0, 2, 2), to(4, 4, 2)); });
  refuses(errc::argument, "exclude each other", [&] { resize_nearest(from(2, 2, 2), to(4, 4, 2), {true, true}); });
  refuses(errc::shape, "channels must be adjacent", [&] { max_pool2d(nchw<std::int8_t const>(x, 1, 2, 4, 4), {}, to(4, 4, 2)); });
  auto const line = nd<std::int8_t const>(x, make_shape(4));
  refuses(errc::shape, "at least two dimensions", [&] { batch_matmul(line, line, 0, 0, nd(y, make_shape(4)), same_code); });
  auto const a = nd<std::int8_t const>(x, make_shape(2, 3)), b = nd<std::int8_t const>(w, make_shape(4, 2));
  refuses(errc::shape, "lhs is 2 x 3, rhs 4 x 2, dst 2 x 2", [&] { batch_matmul(a, b, 0, 0, nd(y, make_shape(2, 2)), same_code); });
  refuses(errc::null, "batch_matmul: an operand is null",
          [&] { batch_matmul(a, nd<std::int8_t const>(nullptr, make_shape(3, 2)), 0, 0, nd(y, make_shape(2, 2)), same_code); });
  // Destinations that begin within an operand; the same elements are allowed where each is read before it is written.
  auto const half = nd(x + 1, make_shape(2, 3, 4));
  refuses(errc::overlap, "unary: dst overlaps src", [&] { unary(v, half, same_code); });
  refuses(errc::overlap, "binary: dst overlaps lhs", [&] { binary(v, nd<std::int8_t const>(w, make_shape(4)), half, maximum{}); });
  refuses(errc::overlap, "binary: dst overlaps rhs", [&] { binary(nd<std::int8_t const>(w, make_shape(2, 3, 4)), nd<std::int8_t const>(x, make_shape(4)), nd(x, make_shape(2, 3, 4)), maximum{}); });
  refuses(errc::overlap, "copy: dst overlaps src", [&] { copy(v, half); });
  refuses(errc::overlap, "apply: dst overlaps src", [&] { apply(table, vector_view<std::int8_t const>{x, 8, 1}, vector_view<std::int8_t>{x + 7, 8, 1}); });
  refuses(errc::overlap, "by_rows: dst overlaps src", [&] { by_rows(v, half, row); });
  refuses(errc::overlap, "resize_nearest: dst overlaps src", [&] { resize_nearest(from(2, 2, 2), nhwc(x + 4, 1, 4, 4, 2)); });
  refuses(errc::overlap, "max_pool2d: dst overlaps src", [&] { max_pool2d(from(4, 4, 2), {.size = {2, 2}, .stride = {2, 2}}, nhwc(x, 1, 2, 2, 2)); });
  refuses(errc::overlap, "batch_matmul: dst overlaps rhs", [&] { batch_matmul(a, nd<std::int8_t const>(w, make_shape(3, 2)), 0, 0, nd(w + 5, make_shape(2, 2)), same_code); });
  unary(v, nd(x, make_shape(2, 3, 4)), same_code);
  binary(v, v, nd(x, make_shape(2, 3, 4)), maximum{});
  apply(table, vector_view<std::int8_t const>{w, 8, 1}, vector_view<std::int8_t>{w, 8, 1});
  tensor_life const lives[] = {{16, 2, 1}};
  index_t offsets[1];
  refuses(errc::argument, "the alignment is 48", [&] { (void)plan_arena(lives, 1, offsets, 48); });
  refuses(errc::argument, "lives from step 2 to 1", [&] { (void)plan_arena(lives, 1, offsets); });
  for (std::int8_t v : y) CHECK(v == 0);
}
