// Live oracle: oneDNN's int8 matrix products and convolutions (libdnnl-dev). Accumulators are exact integers, so every value must be equal.
#include <quern/ops/conv2d.hpp>

#include <oneapi/dnnl/dnnl.hpp>

#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

using namespace quern;

namespace {

std::mt19937 generator(5);

template <class T>
std::vector<T> codes(long n) {
  std::vector<T> v(static_cast<std::size_t>(n));
  for (T& x : v) x = generator() % 16 == 0 ? (generator() % 2 ? code_of_t<T>::min : code_of_t<T>::max) : static_cast<T>(generator());
  return v;
}

template <class A, class B>
void compare(char const* name, dnnl::engine& engine, dnnl::stream& stream, bool& failed) {
  using dnnl::memory;
  auto const type = [](bool is_signed) { return is_signed ? memory::data_type::s8 : memory::data_type::u8; };
  long cases = 0, wrong = 0;
  for (int i = 0; i < 40; ++i) {
    long const m = 1 + generator() % 120, k = 1 + generator() % 300, n = 1 + generator() % 150;
    auto a = codes<A>(m * k);
    auto b = codes<B>(k * n);
    std::vector<std::int32_t> want(static_cast<std::size_t>(m * n)), got(want.size());
    memory::desc const da({m, k}, type(std::is_signed_v<A>), memory::format_tag::ab), db({k, n}, type(std::is_signed_v<B>), memory::format_tag::ab),
        dc({m, n}, memory::data_type::s32, memory::format_tag::ab);
    dnnl::matmul::primitive_desc const pd(dnnl::matmul::desc(da, db, dc), engine);
    memory ma(da, engine, a.data()), mb(db, engine, b.data()), mc(dc, engine, want.data());
    dnnl::matmul(pd).execute(stream, {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}});
    stream.wait();
    gemm(row_major(static_cast<A const*>(a.data()), m, k), pack(row_major(static_cast<B const*>(b.data()), k, n)), row_major(got.data(), m, n));
    for (std::size_t j = 0; j < want.size(); ++j) wrong += want[j] != got[j];
    cases += m * n;
  }
  std::printf("oneDNN                   %-42s %9ld %9ld\n", name, cases, wrong);
  failed |= wrong != 0 || cases < 100000;
}

/// Convolutions with strides, dilation, padding and groups; oneDNN's zero padding is quern's zero point of 0.
template <class X>
void compare_convolution(char const* name, dnnl::engine& engine, dnnl::stream& stream, bool& failed) {
  using dnnl::memory;
  using tag = memory::format_tag;
  auto const type = std::is_signed_v<X> ? memory::data_type::s8 : memory::data_type::u8;
  long cases = 0, wrong = 0;
  for (int i = 0; i < 60; ++i) {
    long const groups = i % 3 == 2 ? 2 : 1, c = groups * (1 + static_cast<long>(generator() % 12)), o = groups * (1 + static_cast<long>(generator() % 20));
    long const h = 5 + generator() % 16, w = 5 + generator() % 16, kh = 1 + generator() % 3, kw = 1 + generator() % 3, stride = 1 + generator() % 2,
               dilation = 1 + generator() % 2, pad = generator() % 2, n = 2;
    long const oh = (h + 2 * pad - (dilation * (kh - 1) + 1)) / stride + 1, ow = (w + 2 * pad - (dilation * (kw - 1) + 1)) / stride + 1;
    auto const x = codes<X>(n * h * w * c);
    auto const weights = codes<std::int8_t>(o * kh * kw * (c / groups));  // OHWI: quern's order, and gohwi with the groups outermost
    std::vector<std::int32_t> want(static_cast<std::size_t>(n * oh * ow * o)), got(want.size());
    memory::desc const dx({n, c, h, w}, type, tag::nhwc), dy({n, o, oh, ow}, memory::data_type::s32, tag::nhwc);
    memory::desc const dw = groups == 1 ? memory::desc({o, c, kh, kw}, memory::data_type::s8, tag::ohwi)
                                        : memory::desc({groups, o / groups, c / groups, kh, kw}, memory::data_type::s8, tag::gohwi);
    dnnl::convolution_forward::primitive_desc const pd({dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct, dx, dw, dy, {stride, stride},
                                                        {dilation - 1, dilation - 1}, {pad, pad}, {pad, pad}}, engine);
    memory mx(dx, engine, const_cast<X*>(x.data())), mw(dw, engine, const_cast<std::int8_t*>(weights.data())), my(dy, engine, want.data());
    dnnl::convolution_forward(pd).execute(stream, {{DNNL_ARG_SRC, mx}, {DNNL_ARG_WEIGHTS, mw}, {DNNL_ARG_DST, my}});
    stream.wait();
    conv_options const options{.stride = {stride, stride}, .dilation = {dilation, dilation}, .padding = {padding_rule::given, pad, pad, pad, pad}, .groups = groups};
    conv2d(nhwc(x.data(), n, h, w, c), pack_conv(nhwc(weights.data(), o, kh, kw, c / groups), options), nhwc(got.data(), n, oh, ow, o), epilogue<>{});
    for (std::size_t j = 0; j < want.size(); ++j) wrong += want[j] != got[j];
    cases += static_cast<long>(want.size());
  }
  std::printf("oneDNN                   %-42s %9ld %9ld\n", name, cases, wrong);
  failed |= wrong != 0 || cases < 100000;
}

}  // namespace

int main() {
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  bool failed = false;
  compare<std::uint8_t, std::int8_t>("gemm u8 s8 -> s32", engine, stream, failed);
  compare<std::int8_t, std::int8_t>("gemm s8 s8 -> s32", engine, stream, failed);
  compare_convolution<std::uint8_t>("conv2d u8 s8 -> s32", engine, stream, failed);
  compare_convolution<std::int8_t>("conv2d s8 s8 -> s32", engine, stream, failed);
  return failed;
}
