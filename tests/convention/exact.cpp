// TVM, TensorRT and Vitis AI cannot be installed here: their operations against the specification in exact rationals, 100,000 cases
// each, half of them ties or nearly. Nothing of the library is used on the expected side.
#include "support/catch.hpp"
#include "support/exact.hpp"

#include <quern/convention/conventions.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using namespace quern;
using namespace quern::convention;
using exact::big;
using exact::dyadic;
using exact::tie;

namespace {

constexpr int enough = 100000;

struct source {
  std::uint64_t state = 88172645463325252u;
  std::uint32_t operator()() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<std::uint32_t>(state >> 20);
  }
  int code() { return static_cast<int>((*this)() & 255) - 128; }
  /// Powers of two, halves of thirds, anything.
  float scale() {
    switch ((*this)() % 4) {
      case 0: return std::ldexp(1.0f, static_cast<int>((*this)() % 10) - 7);
      case 1: return std::ldexp(1.5f, static_cast<int>((*this)() % 8) - 6);
      case 2: return 0.1f;
      default: return 0.002f + static_cast<float>((*this)() & 0xffffff) * 2e-8f;
    }
  }
  float power() { return std::ldexp(1.0f, static_cast<int>((*this)() % 9) - 5); }
};

big clamped(big v, big lo = -128, big hi = 127) { return v < lo ? lo : v > hi ? hi : v; }
dyadic of(float x) { return exact::value_of(x); }
dyadic whole(big v) { return {v, 0}; }
dyadic f32(dyadic v) { return exact::to_precision(v, 24); }
dyadic product(dyadic a, dyadic b) { return f32(exact::times(a, b)); }
dyadic quotient(dyadic a, dyadic b) { return exact::divided(a, b, 24); }

/// Compares and counts.
struct comparison {
  char const* what;
  long cases = 0, wrong = 0;
  std::string first{};
  void operator()(std::int64_t got, big want, std::initializer_list<double> inputs) {
    ++cases;
    if (got == want || wrong++ != 0) return;
    for (double x : inputs) first += std::to_string(x) + " ";
    first += "give " + std::to_string(got) + ", exact " + std::to_string(static_cast<std::int64_t>(want));
  }
  ~comparison() {
    INFO(what << ": " << wrong << " of " << cases << " differ, first " << first);
    CHECK((wrong == 0 && cases >= enough));
  }
};

// ---- TVM -------------------------------------------------------------------------------------------------------------

/// The multiplier of a scale in fixed point: 31 bits, ties away; value = fraction * 2^(shift - 31).
struct fixed {
  big fraction = 0;
  int shift = 0;
};
fixed fixed_point(dyadic d) {
  int bits = 0;
  while ((d.numerator >> bits) != 0) ++bits;
  big f = bits > 31 ? exact::nearest(d.numerator, exact::pow2(bits - 31), tie::away) : d.numerator << (31 - bits);
  int s = d.exponent + bits;
  if (f == exact::pow2(31)) f /= 2, ++s;
  return {f, s};
}
/// x * (from / to), rounded once; equal scales leave x as it is.
big tvm_scaled(big x, float from, float to, tie t) {
  if (from == to) return x;
  fixed const m = fixed_point(exact::divided(of(from), of(to), 53));
  return exact::nearest(x * m.fraction * exact::pow2(m.shift > 0 ? m.shift : 0), exact::pow2(31 + (m.shift < 0 ? -m.shift : 0)), t);
}

template <class C>
void check_tvm(tie t) {
  source random;
  comparison requantize{"requantize"}, wide{"requantize of int32"}, as_float{"requantize in float32"}, as_double{"requantize in float64"}, add{"add"}, mul{"mul"}, stage{"output stage"},
      average{"average_pool"};
  for (int round = 0; round < enough / 50; ++round) {
    affine const a{random.scale(), random.code()}, b{random.scale(), random.code()}, y{round % 5 == 0 ? a.scale : random.scale(), random.code()};
    auto const q = C::template requantize<s8>(a, y);
    auto const qf = C::template requantize_float<s8, float>(a, y);
    auto const qd = C::template requantize_float<s8, double>(a, y);
    auto const sum = C::template add<s8>(a, b, y);
    auto const times = C::template mul<s8>(a, b, y);
    auto const out = C::template output_stage<s8>(a.scale, b.scale, y);
    auto const mean = C::template average_pool<s8>(a, y);
    float const both = exact::to_float(product(of(a.scale), of(b.scale)));
    // The float forms: multiplier and product in the type, the zero point added before the rounding; halves up by floor(v + 1/2).
    auto const through = [&](big x, int bits) {
      dyadic m = exact::divided(of(a.scale), of(y.scale), 53);
      if (bits == 24) m = f32(m);
      dyadic v = exact::to_precision(exact::plus(exact::to_precision(exact::times(m, whole(x)), bits), whole(y.zero_point)), bits);
      if (t == tie::up) {
        v = exact::to_precision(exact::plus(v, {1, -1}), bits);
        return v.exponent >= 0 ? v.numerator * exact::pow2(v.exponent) : -v.exponent > 120 ? (v.numerator < 0 ? -1 : 0) : exact::floor_div(v.numerator, exact::pow2(-v.exponent));
      }
      return exact::nearest(v, t);
    };
    for (int i = 0; i < 50; ++i) {
      int const p = random.code(), r = random.code();
      requantize(q(p), clamped(tvm_scaled(p - a.zero_point, a.scale, y.scale, t) + y.zero_point), {a.scale, y.scale, static_cast<double>(p)});
      // Sums of a real layer: 2^21 at most, so that the products stay within int64 as TVM's contract has it.
      auto const acc = static_cast<std::int32_t>(random() >> 11) - (1 << 20);
      wide(q(acc), clamped(tvm_scaled(acc - a.zero_point, a.scale, y.scale, t) + y.zero_point), {a.scale, y.scale, static_cast<double>(acc)});
      as_float(qf(p), clamped(through(p - a.zero_point, 24)), {a.scale, y.scale, static_cast<double>(p), static_cast<double>(y.zero_point)});
      as_double(qd(p), clamped(through(p - a.zero_point, 53)), {a.scale, y.scale, static_cast<double>(p), static_cast<double>(y.zero_point)});
      big const left = tvm_scaled(p - a.zero_point, a.scale, y.scale, t) + y.zero_point, right = tvm_scaled(r - b.zero_point, b.scale, y.scale, t) + y.zero_point;
      add(sum(p, r), clamped(left + right - y.zero_point), {a.scale, b.scale, y.scale, static_cast<double>(p), static_cast<double>(r)});
      mul(times(p, r), clamped(tvm_scaled(big{p - a.zero_point} * (r - b.zero_point), both, y.scale, t) + y.zero_point),
          {a.scale, b.scale, y.scale, static_cast<double>(p), static_cast<double>(r)});
      stage(out(acc), clamped(tvm_scaled(acc, both, y.scale, t) + y.zero_point), {a.scale, b.scale, y.scale, static_cast<double>(acc)});
      int const n = 1 + static_cast<int>(random() % 50), total = static_cast<int>(random() % 12801) - 6400;
      average(mean(total, n), clamped(exact::directed(total, n, exact::direction::zero)), {static_cast<double>(total), static_cast<double>(n)});
    }
  }
}

// ---- TensorRT, Model Optimizer ------------------------------------------------------------------------------------------

template <class C>
void check_tensorrt(int lowest, bool reciprocal) {
  source random;
  comparison quantize{"quantize"}, add{"add"}, mul{"mul"}, stage{"output stage"}, average{"average_pool"}, choose{"choose"};
  for (int round = 0; round < enough / 50; ++round) {
    affine const a{random.scale(), 0}, b{random.scale(), 0}, y{random.scale(), 0};
    auto const code_of = [&](dyadic v) {
      dyadic const steps = reciprocal ? product(v, quotient(whole(1), of(y.scale))) : quotient(v, of(y.scale));
      return clamped(exact::nearest(steps, tie::even), lowest);
    };
    auto const sum = C::template add<s8>(a, b, y);
    auto const times = C::template mul<s8>(a, b, y);
    auto const out = C::template output_stage<s8>(a.scale, b.scale, y);
    auto const mean = C::template average_pool<s8>(a, y);
    dyadic const scale = quotient(product(of(a.scale), of(b.scale)), of(y.scale));
    for (int i = 0; i < 50; ++i) {
      int const p = random.code(), r = random.code();
      dyadic const pa = product(whole(p), of(a.scale)), rb = product(whole(r), of(b.scale));
      float const x = exact::to_float(pa) * 0.5f;
      quantize(C::template quantize<s8>(x, y), code_of(of(x)), {x, y.scale});
      add(sum(p, r), code_of(f32(exact::plus(pa, rb))), {a.scale, b.scale, y.scale, static_cast<double>(p), static_cast<double>(r)});
      mul(times(p, r), code_of(product(pa, rb)), {a.scale, b.scale, y.scale, static_cast<double>(p), static_cast<double>(r)});
      auto const acc = static_cast<std::int32_t>(random()) >> (random() % 24);
      stage(out(acc), clamped(exact::nearest(product(f32(whole(acc)), scale), tie::even)), {a.scale, b.scale, y.scale, static_cast<double>(acc)});
      int const n = 1 + static_cast<int>(random() % 50), total = static_cast<int>(random() % 12801) - 6400;
      average(mean(total, n), code_of(quotient(product(whole(total), of(a.scale)), whole(n))), {a.scale, y.scale, static_cast<double>(total), static_cast<double>(n)});
      float const low = -std::fabs(x) * 1.37f, high = std::fabs(exact::to_float(rb)), largest = -low > high ? -low : high;
      if (largest > 0)
        choose(C::template choose<s8>(real_range{low, high}).scale == exact::to_float(quotient(of(largest), whole(127))), 1, {low, high});
      else
        choose(C::template choose<s8>(real_range{low, high}).scale == 1.0f, 1, {low, high});
    }
  }
}

// ---- Vitis AI -----------------------------------------------------------------------------------------------------------

big vitis_rounded(std::string const& mode, dyadic v) {
  if (v.numerator == 0) return 0;
  big const num = v.exponent > 0 ? v.numerator * exact::pow2(v.exponent) : v.numerator, den = v.exponent < 0 ? exact::pow2(-v.exponent) : 1;
  if (mode == "vitis_ai") return exact::nearest(num, den, tie::up);
  if (mode == "vitis_ai_3") return exact::nearest(num, den, tie::away);
  if (mode == "vitis_ai_4") return exact::directed(num, den, exact::direction::down);
  if (mode == "vitis_ai_5") return exact::nearest(num, den, tie::even_positive);
  if (mode == "vitis_ai_6") return exact::nearest(num, den, tie::zero);
  if (mode == "vitis_ai_7") return exact::directed(num, den, exact::direction::up);
  return exact::nearest(num, den, tie::even);
}
/// What stands for 1 / n: the published constants, else the nearest factor / 2^k, k from 0 to below log2(128 n), the first of equals.
dyadic vitis_reciprocal(int h, int w) {
  struct published {
    int h, w, factor, shift;
  };
  for (published p : {published{3, 3, 7, 6}, published{5, 5, 10, 8}, published{6, 6, 7, 8}, published{3, 6, 14, 8}, published{7, 7, 21, 10}, published{14, 14, 21, 12}})
    if (p.h == h && p.w == w) return {p.factor, -p.shift};
  big const n = big{h} * w;
  big best = 0, error = 0, unit = 1;  // |best / 2^k - 1 / n| = error / unit
  int at = -1;
  for (int k = 0; exact::pow2(k) < 128 * n; ++k) {
    big const factor = exact::nearest(exact::pow2(k), n, tie::even), e = factor * n - exact::pow2(k), distance = e < 0 ? -e : e, of_unit = exact::pow2(k) * n;
    if (at < 0 ? distance < of_unit : distance * unit < error * of_unit) best = factor, error = distance, unit = of_unit, at = k;
  }
  return {best, -at};
}

template <class C>
void check_vitis() {
  source random;
  comparison quantize{"quantize"}, stage{"output stage"}, add{"add"}, mul{"mul"}, average{"average_pool"}, position{"NonOverflow"};
  for (int round = 0; round < enough / 50; ++round) {
    affine const a{random.power(), random.code()}, b{random.power(), random.code()}, y{random.power(), random.code()};
    auto const code_of = [&](dyadic real) {  // a real number, exactly, to a code
      return clamped(vitis_rounded(C::name, {real.numerator, real.exponent - (of(y.scale).exponent + 23)}) + y.zero_point);
    };
    auto const exponent = [](float power) { return of(power).exponent + 23; };
    auto const value = [&](int q, affine p) { return dyadic{q - p.zero_point, exponent(p.scale)}; };
    auto const sum = C::template add<s8>(a, b, y);
    auto const times = C::template mul<s8>(a, b, y);
    auto const out = C::template output_stage<s8>(a.scale, b.scale, y);
    auto const mean = C::template average_pool<s8>(a, y);
    for (int i = 0; i < 50; ++i) {
      int const p = random.code(), r = random.code();
      float const x = std::ldexp(static_cast<float>(static_cast<int>(random() >> 14) - (1 << 17)), -12);
      quantize(C::template quantize<s8>(x, y), code_of(of(x)), {x, y.scale});
      auto const acc = static_cast<std::int32_t>(random()) >> (random() % 28);
      stage(out(acc), code_of({acc, exponent(a.scale) + exponent(b.scale)}), {a.scale, b.scale, y.scale, static_cast<double>(acc)});
      add(sum(p, r), code_of(exact::plus(value(p, a), value(r, b))), {a.scale, b.scale, y.scale, static_cast<double>(p), static_cast<double>(r)});
      mul(times(p, r), code_of(exact::times(value(p, a), value(r, b))), {a.scale, b.scale, y.scale, static_cast<double>(p), static_cast<double>(r)});
      // Windows: squares, 3 x 6, and lines.
      int const side = 1 + static_cast<int>(random() % 15), line = 1 + static_cast<int>(random() % 40), root = static_cast<int>(std::lround(std::sqrt(line)));
      int const h = i % 2 ? side : line == 18 ? 3 : root * root == line ? root : 1, w = i % 2 ? side : line == 18 ? 6 : root * root == line ? root : line, n = h * w;
      int const total = static_cast<int>(random() % static_cast<unsigned>(256 * n)) - 128 * n;
      average(mean(total, n), code_of(exact::times({total - n * a.zero_point, exponent(a.scale)}, vitis_reciprocal(h, w))), {a.scale, y.scale, static_cast<double>(total), static_cast<double>(n)});
      // The finest position at which neither end is more than half a step outside: low * 2^pos >= -128.5, high * 2^pos <= 127.5.
      float const low = -std::fabs(x) * 0.7f - 0x1p-12f, high = std::fabs(x) + 0x1p-12f;
      int const pos = C::non_overflow_position({low, high});
      auto const fits = [&](int at) {
        dyadic const l = exact::times(of(low), {2, at}), u = exact::times(of(high), {2, at});  // against -257 and 255
        auto const below = [](dyadic v, big bound) { return v.exponent >= 0 ? v.numerator * exact::pow2(v.exponent) <= bound : v.numerator <= bound * exact::pow2(-v.exponent); };
        return below({-l.numerator, l.exponent}, 257) && below(u, 255);
      };
      position(fits(pos) && !fits(pos + 1), 1, {low, high, static_cast<double>(pos)});
    }
  }
}

}  // namespace

TEST_CASE("TVM: every operation equals exact rationals, both roundings", "[convention][tvm][exact]") {
  check_tvm<convention::tvm>(tie::up);
  check_tvm<tvm_to_nearest>(tie::away);
}

TEST_CASE("TensorRT and Model Optimizer: every operation equals binary32 arithmetic in exact rationals", "[convention][tensorrt][exact]") {
  check_tensorrt<tensorrt>(-128, false);
  check_tensorrt<model_optimizer>(-127, true);
  source random;
  comparison fake{"fake_quantize"};
  for (int i = 0; i < enough; ++i) {
    float const amax = random.scale() * 40, x = (static_cast<float>(random() >> 16) / 32768.0f - 0.5f) * amax * (i % 3 ? 1.0f : 2.5f);
    bool const narrow = i % 2;
    dyadic const s = quotient(whole(127), of(amax));
    big const q = clamped(exact::nearest(product(of(x), s), tie::even), narrow ? -127 : -128);
    fake(model_optimizer::fake_quantize(x, amax, narrow) == exact::to_float(quotient(whole(q), s)), 1, {x, amax});
  }
}

TEST_CASE("Vitis AI: every operation equals exact rationals, all seven roundings", "[convention][vitis_ai][exact]") {
  for_each_type<conventions>([](auto tag) {
    using c = typename decltype(tag)::type;
    if constexpr (requires { c::min_mse_position(vector_view<float const>{}, 0); }) check_vitis<c>();
  });
  // MinMSE: squared errors as exact integers, the first of equals.
  source random;
  long wrong = 0;
  for (int round = 0; round < 400; ++round) {
    std::vector<float> x(64);
    std::vector<big> units;
    for (float& v : x) {
      int const u = (static_cast<int>(random() >> 16) - 32768) >> (random() % 8);
      v = std::ldexp(static_cast<float>(u), -10);
      units.push_back(u);
    }
    int const first = static_cast<int>(random() % 5);
    int best = -1;
    big least = 0;
    for (int pos = first; pos < first + 5; ++pos) {
      big sum = 0;
      for (big u : units) {
        big const q = clamped(exact::nearest({u, pos - 10}, tie::up)), error = q * exact::pow2(10) - u * exact::pow2(pos);  // in steps of 2^-(10 + pos)
        sum += error * error * exact::pow2(2 * (first + 5 - pos));
      }
      if (best < 0 || sum < least) best = pos, least = sum;
    }
    wrong += vitis_ai::min_mse_position(vector_view<float const>(view(x)), first) != best;
  }
  CHECK(wrong == 0);
}
