// Live oracle: oneDNN's int8 matmul (libdnnl-dev). Accumulators are exact integers, so every value must be equal.
#include <quern/ops/gemm.hpp>

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
  failed |= wrong != 0;
}

}  // namespace

int main() {
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  bool failed = false;
  compare<std::uint8_t, std::int8_t>("gemm u8 s8 -> s32", engine, stream, failed);
  compare<std::int8_t, std::int8_t>("gemm s8 s8 -> s32", engine, stream, failed);
  return failed;
}
