// battery.hpp — calls of every family of kernels, with types that quern::kernels holds and types that it does not.
#include <quern/quern.hpp>

#include <random>
#include <vector>

namespace QUERN_BATTERY {

using bytes = std::vector<unsigned char>;

template <class T>
void append(bytes& to, std::vector<T> const& v) {
  auto const* const p = reinterpret_cast<unsigned char const*>(v.data());
  to.insert(to.end(), p, p + v.size() * sizeof(T));
}

/// What everything below writes, under a cap.
bytes battery(quern::isa cap) {
  using namespace quern;
  bytes out;
  std::mt19937 random(11);
  constexpr index_t m = 37, n = 53, k = 141;
  std::vector<float> x(static_cast<std::size_t>(m * k));
  std::vector<double> xd(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) xd[i] = x[i] = static_cast<float>(static_cast<int>(random() % 4001) - 2000) / 777.0f;
  x[5] = __builtin_nanf("");
  x[77] = -__builtin_inff();

  // Conversions: held by the target, and not (half_up, double).
  auto const p = choose_params<asymmetric<u8>>({-2.0f, 2.5f});
  auto const s = choose_params<symmetric<s8>>({-2.0f, 2.5f});
  std::vector<std::uint8_t> a(x.size());
  std::vector<std::int8_t> b(x.size());
  std::vector<float> back(x.size());
  quantize(view(x), p, view(a), {.max_isa = cap});
  append(out, a);
  quantize<round_to::half_even, reciprocal>(view(x), s, view(b), {.max_isa = cap});
  append(out, b);
  quantize<round_to::half_up>(view(x), s, view(b), {.max_isa = cap});
  append(out, b);
  quantize(view(xd), s, view(b), {.max_isa = cap});
  append(out, b);
  dequantize(view(a), p, view(back), {.max_isa = cap});
  append(out, back);

  // Products.
  std::vector<std::int8_t> w(static_cast<std::size_t>(k * n));
  for (auto& c : w) c = static_cast<std::int8_t>(random());
  std::vector<float> scales(static_cast<std::size_t>(n));
  std::vector<std::int32_t> bias(scales.size());
  for (auto& c : scales) c = 0.0001f + 0.00001f * static_cast<float>(random() % 100);
  for (auto& c : bias) c = static_cast<std::int32_t>(random() % 10001) - 5000;
  auto const packed = pack(row_major(w.data(), k, n));
  auto const lhs = row_major(static_cast<std::uint8_t const*>(a.data()), m, k);
  std::vector<std::int32_t> y32(static_cast<std::size_t>(m * n));
  std::vector<std::int8_t> y8(y32.size());
  gemm(lhs, packed, row_major(y32.data(), m, n), epilogue<>{}, {.max_isa = cap});
  append(out, y32);
  gemm(lhs, packed, row_major(y8.data(), m, n),
       epilogue<to_real>{.lhs_zero_point = 113, .bias = view(bias), .rescale = {.cols = view(scales)}, .dst_zero_point = -4}, {.max_isa = cap});
  append(out, y8);
  gemm(row_major(static_cast<std::int8_t const*>(b.data()), m, k), packed, row_major(y8.data(), m, n),
       epilogue<rescale::gemmlowp_double>{.rescale = rescale::gemmlowp_double::from_real(0.0004)}, {.max_isa = cap});
  append(out, y8);

  append(out, y8);
  auto const doubled = [](float v, index_t, index_t) { return 2 * v; };  // no epilogue of the target's
  gemm(lhs, packed, row_major(y8.data(), m, n),
       epilogue<to_real, no_residual, decltype(doubled)>{.rescale = {.cols = view(scales)}, .then = doubled}, {.max_isa = cap});
  append(out, y8);

  // A convolution of 3 x 3 taps, and one channel by channel.
  std::vector<std::int8_t> image(static_cast<std::size_t>(9 * 11 * 20)), filter(static_cast<std::size_t>(24 * 9 * 20)), taps(static_cast<std::size_t>(9 * 20));
  for (auto* v : {&image, &filter, &taps})
    for (auto& c : *v) c = static_cast<std::int8_t>(random());
  epilogue<to_real> const e{.lhs_zero_point = 5, .rescale = {.cols = 0.0007f}};
  std::vector<std::int8_t> by_channel(image.size()), convolved(static_cast<std::size_t>(9 * 11 * 24));
  auto const pixels = nhwc(static_cast<std::int8_t const*>(image.data()), 1, 9, 11, 20);
  conv2d(pixels, pack_conv(nhwc(filter.data(), 24, 3, 3, 20), {.padding = same}), nhwc(convolved.data(), 1, 9, 11, 24), e, {.max_isa = cap});
  append(out, convolved);
  depthwise_conv2d(pixels, pack_depthwise(nhwc(taps.data(), 1, 3, 3, 20), {.padding = same}), nhwc(by_channel.data(), 1, 9, 11, 20), e, {.max_isa = cap});
  append(out, by_channel);

  // Sums, and a pool.
  auto const summed = fixed_point::add<>::make({0.02f, 3}, {0.03f, -7}, {0.04f, 1}, {}, 20);
  auto const constant = [](std::vector<std::int8_t> const& v) { return static_cast<std::int8_t const*>(v.data()); };
  binary(nd(constant(convolved), make_shape(99, 24)), nd(constant(filter), make_shape(24)), nd(convolved.data(), make_shape(99, 24)), summed, cap);
  append(out, convolved);
  average_pool2d(nhwc(constant(convolved), 1, 9, 11, 24), {.size = {2, 2, 1}, .stride = {2, 2}}, nhwc(y8.data(), 1, 4, 5, 24), {}, cap);
  append(out, y8);

  // Accumulators to codes, int8 vectors, tables.
  float const step = 0.001f;
  requantize(view(y32), params_view{&step, nullptr, 1}, s, view(y8), {.max_isa = cap});
  append(out, y8);
  append(out, std::vector<std::int64_t>{dot(view(b), view(b), {.max_isa = cap})});
  apply(table_of<std::int8_t, std::int8_t>([](int v) { return (v * 37 + 11) ^ 5; }), vector_view<std::int8_t const>(view(b)), view(b), cap);
  append(out, b);
  return out;
}

}  // namespace QUERN_BATTERY
