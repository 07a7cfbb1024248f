// unit.cpp — compiled several times, with -DUNIT=name and different flags and compilers, and linked into one program. Every
// unit computes the same from the same input; run.py looks at the symbols that the objects share.
#include "unit.hpp"

namespace {

struct hash {
  std::uint64_t value = 14695981039346656037u;
  template <class T>
  void add(T const& x) {
    unsigned char bytes[sizeof(T)];
    __builtin_memcpy(bytes, &x, sizeof(T));
    for (unsigned char b : bytes) value = (value ^ b) * 1099511628211u;
  }
  template <class T>
  void add(quern::vector_view<T> v) {
    for (quern::index_t i = 0; i < v.size; ++i) add(v[i]);
  }
};

// A generator of its own: std::mt19937's code would be shared between the units.
struct numbers {
  std::uint64_t state = 88172645463325252u;
  std::uint32_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<std::uint32_t>(state >> 16);
  }
  float real() { return static_cast<float>(static_cast<std::int32_t>(next())) / 536870912.0f; }
};

template <class Policy>
constexpr bool only_powers_of_two = false;
template <class Rounding>
constexpr bool only_powers_of_two<quern::rescale::power_of_two<Rounding>> = true;

constexpr quern::index_t rows = 5, depth = 67, columns = 19;
float activations[rows * depth];

bool runs_here() {
#if QUERN_X86_64
  __builtin_cpu_init();
#if defined(__AVX512VNNI__)
  if (!__builtin_cpu_supports("avx512vnni")) return false;
#endif
#if defined(__AVX512BW__)
  if (!__builtin_cpu_supports("avx512bw")) return false;
#endif
#if defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2")) return false;
#endif
#if defined(__BMI2__)
  if (!__builtin_cpu_supports("bmi2")) return false;
#endif
#if defined(__FMA__)
  if (!__builtin_cpu_supports("fma")) return false;
#endif
#endif
  return true;
}

exchange make() {
  numbers random;
  for (float& x : activations) x = random.real();
  std::int8_t weights[depth * columns];
  for (std::int8_t& w : weights) w = static_cast<std::int8_t>(random.next());
  exchange out;
  out.activations = quern::row_major<float const>(activations, rows, depth);
  quern::real_range ranges[columns];
  for (quern::real_range& r : ranges) {
    float const a = random.real(), b = random.real();
    r = {a < b ? a : b, a < b ? b : a};
  }
  out.weight_params = quern::choose_params<quern::symmetric<quern::s8, quern::per_channel<1>>>(quern::view(ranges));
  out.weights = quern::pack(quern::row_major<std::int8_t const>(weights, depth, columns));
  return out;
}

std::uint64_t use(exchange const& in) {
  hash bits;
  numbers random;
  bits.add(quern::view(in.weight_params.scales));
  auto const copy = in.weight_params;  // the buffers of another unit, copied and freed here
  bits.add(quern::view(copy.scales));

  // Every rescale arithmetic and rounding mode on numbers that each of them treats differently.
  quern::for_each_type<quern::rescales>([&](auto tag) {
    using policy = typename decltype(tag)::type;
    for (int i = 0; i < 50; ++i) {
      double scale = static_cast<double>(1 + random.next() % 1000003) / 1099511627.0;
      if constexpr (only_powers_of_two<policy>) scale = 1.0 / (1 << random.next() % 20);
      auto const parameters = policy::from_real(scale);
      auto const acc = static_cast<std::int32_t>(random.next());
      bits.add(policy::apply(acc >> (random.next() % 24), parameters));
    }
  });
  quern::for_each_type<quern::rounding_modes>([&](auto tag) {
    using mode = typename decltype(tag)::type;
    for (int i = 0; i < 50; ++i) {
      bits.add(mode::to_integral(random.real() * 16.0f));
      auto const number = static_cast<std::int32_t>(random.next());
      bits.add(mode::shift_right(number, static_cast<int>(random.next() % 31)));
    }
  });

  // From float to float through integers: range, params, product.
  quern::calibrate::min_max<quern::per_tensor> observer;
  observer.observe(in.activations);
  auto const activation = quern::choose_params<quern::asymmetric<quern::u8>>(observer.range());
  bits.add(activation.scale);
  bits.add(activation.zero_point);
  quern::buffer<std::uint8_t> lhs(rows * depth);
  quern::quantize(in.activations, activation, quern::row_major(lhs.data(), rows, depth));
  bits.add(quern::view(lhs));
  quern::quantize<quern::round_to::half_away, quern::reciprocal>(in.activations, activation, quern::row_major(lhs.data(), rows, depth));
  bits.add(quern::view(lhs));
  quern::buffer<std::int32_t> acc(rows * columns);
  quern::gemm(quern::row_major<std::uint8_t const>(lhs.data(), rows, depth), in.weights,
              quern::row_major(acc.data(), rows, columns));
  bits.add(quern::view(acc));
  quern::buffer<float> scales(columns);
  for (quern::index_t j = 0; j < columns; ++j) scales[j] = activation.scale * in.weight_params.scales[j];
  quern::buffer<float> real(rows * columns);
  quern::gemm(quern::row_major<std::uint8_t const>(lhs.data(), rows, depth), in.weights,
              quern::row_major(real.data(), rows, columns),
              quern::epilogue<quern::to_real>{.lhs_zero_point = activation.zero_point, .rescale = {.cols = quern::view(scales)}});
  bits.add(quern::view(real));
  return bits.value;
}

// Throws where exceptions are on; the object crosses to main, which may have been compiled otherwise.
bool refuses(quern::error const*& seen) {
#if QUERN_EXCEPTIONS
  static quern::error kept(quern::errc::shape);
  try {
    quern::fail(quern::errc::depth, "unit ", 1, " of ", 2.5, ".");
  } catch (quern::error const& e) {
    kept = e;
    seen = &kept;
    return e.code() == quern::errc::depth;
  }
#else
  static_cast<void>(seen);
#endif
  return true;
}

}  // namespace

#define QUERN_TEXT_(x) #x
#define QUERN_TEXT(x) QUERN_TEXT_(x)
extern unit const UNIT;
unit const UNIT = {QUERN_TEXT(UNIT), runs_here, make, use, refuses};
