// The official ONNX node tests for quantization, replayed from the plain text of QUERN_GOLDEN_DIR/onnx. Every file there must be
// understood and equal, bit for bit; an unknown operator or type is a failure, not a skip.
#include "support/catch.hpp"

#include <quern/ops/onnx.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef QUERN_GOLDEN_DIR
#define QUERN_GOLDEN_DIR ""
#endif

using namespace quern;
using convention::affine;

namespace {

/// Values as their bit patterns (reals) or numbers (codes).
struct tensor {
  std::string type;
  shape extents{};
  std::vector<std::int64_t> values;
};

struct golden_case {
  std::string name, op;
  std::map<std::string, std::vector<std::string>> attributes;
  std::map<int, tensor> inputs, outputs;

  long attribute(std::string const& key, long otherwise) const {
    auto const a = attributes.find(key);
    return a == attributes.end() ? otherwise : std::stol(a->second.at(0));
  }
};

bool is_real(std::string const& t) { return t == "f32" || t == "f16" || t == "bf16" || t == "f64"; }

golden_case parse(std::filesystem::path const& path) {
  golden_case c;
  std::ifstream file(path);
  std::string line;
  bool ended = false;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "case") {
      words >> c.name;
    } else if (word == "op") {
      words >> c.op;
    } else if (word == "attr") {
      std::string key, value;
      words >> key;
      while (words >> value) c.attributes[key].push_back(value);
    } else if (word == "input" || word == "output") {
      int slot = 0;
      std::string name;
      tensor t;
      words >> slot >> name >> t.type >> t.extents.rank;
      for (int d = 0; d < t.extents.rank; ++d) words >> t.extents.dim[d];
      std::getline(file, line);
      std::istringstream numbers(line);
      for (std::string v; numbers >> v;) t.values.push_back(is_real(t.type) ? static_cast<std::int64_t>(std::stoull(v, nullptr, 16)) : std::stoll(v));
      if (static_cast<index_t>(t.values.size()) != t.extents.size()) throw std::runtime_error("the number of values does not fit the shape");
      (word == "input" ? c.inputs : c.outputs)[slot] = t;
    } else if (word == "end") {
      ended = true;
    } else if (word != "opset" && word != "absent") {
      throw std::runtime_error("unknown word " + word);
    }
  }
  if (!ended) throw std::runtime_error("the file does not end");
  return c;
}

template <class T>
struct of_type {
  using type = T;  ///< target: a code, a minifloat or a real type
  using storage = detail::onnx_storage_t<T>;
};
template <class T>
  requires(real<T>)
struct of_type<T> {
  using type = T;
  using storage = T;
};

[[noreturn]] void unknown(std::string const& what) { throw std::runtime_error("unknown " + what); }

template <class F>
void with_real(std::string const& t, F&& f) {
  if (t == "f32") return f(of_type<float>{});
  if (t == "f16") return f(of_type<half>{});
  unknown("real type " + t);
}
template <class F>
void with_code(std::string const& t, F&& f) {
  if (t == "u8") return f(of_type<u8>{});
  if (t == "i8") return f(of_type<s8>{});
  if (t == "u16") return f(of_type<u16>{});
  if (t == "i16") return f(of_type<s16>{});
  if (t == "u4") return f(of_type<u4>{});
  if (t == "i4") return f(of_type<s4>{});
  if (t == "u2") return f(of_type<u2>{});
  if (t == "i2") return f(of_type<s2>{});
  unknown("integer type " + t);
}
template <class F>
void with_small_float(std::string const& t, F&& f) {
  if (t == "f8e4m3fn") return f(of_type<codec::float8_e4m3fn>{});
  if (t == "f8e5m2") return f(of_type<codec::float8_e5m2>{});
  if (t == "f8e4m3fnuz") return f(of_type<codec::float8_e4m3fnuz>{});
  if (t == "f8e5m2fnuz") return f(of_type<codec::float8_e5m2fnuz>{});
  if (t == "f4e2m1") return f(of_type<codec::float4_e2m1>{});
  unknown("small float " + t);
}
bool is_small_float(std::string const& t) { return t.substr(0, 2) == "f8" || t == "f4e2m1"; }
template <class F>
void with_target(std::string const& t, F&& f) {
  is_small_float(t) ? with_small_float(t, f) : with_code(t, f);
}

template <class T>
std::vector<T> values_of(tensor const& t) {
  std::vector<T> v;
  for (std::int64_t x : t.values) {
    if constexpr (std::is_same_v<T, float>)
      v.push_back(bits_of<float>(static_cast<std::uint32_t>(x)));
    else if constexpr (std::is_same_v<T, half>)
      v.push_back(half::from_bits(static_cast<std::uint16_t>(x)));
    else if constexpr (detail::is_minifloat<T>)
      v.push_back(T::from_bits(static_cast<unsigned>(x)));
    else
      v.push_back(static_cast<T>(x));
  }
  return v;
}
template <class T>
std::int64_t bits_of_value(T x) {
  if constexpr (std::is_same_v<T, float>)
    return bits_of<std::uint32_t>(x);
  else if constexpr (std::is_same_v<T, half> || detail::is_minifloat<T>)
    return x.bits;
  else
    return x;
}

struct comparison {
  long values = 0, wrong = 0;

  template <class T>
  void check(std::vector<T> const& got, tensor const& want) {
    if (got.size() != want.values.size()) throw std::runtime_error("the number of results differs");
    for (std::size_t i = 0; i < got.size(); ++i) {
      ++values;
      std::int64_t const a = bits_of_value(got[i]), b = want.values[i];
      if (a == b) continue;
      // NaN has several codes in float8 e5m2 (and in float); which one is written says nothing about the number.
      if constexpr (!std::is_integral_v<T>)
        if (is_nan(static_cast<float>(got[i])) && is_nan(static_cast<float>(values_of<T>(want)[i]))) continue;
      ++wrong;
    }
  }
};

/// Scales as float, whatever their type (f16 is exact).
std::vector<float> scales_of(tensor const& t) {
  std::vector<float> r;
  with_real(t.type, [&](auto tag) {
    for (auto v : values_of<typename decltype(tag)::type>(t)) r.push_back(static_cast<float>(v));
  });
  return r;
}
std::vector<std::int32_t> zero_points_of(golden_case const& c, int slot) {
  std::vector<std::int32_t> r;
  auto const t = c.inputs.find(slot);
  if (t != c.inputs.end())
    for (std::int64_t v : t->second.values) r.push_back(static_cast<std::int32_t>(v));
  return r;
}
template <class T>
one_or_each<T> one_or_all(std::vector<T> const& v) {
  if (v.empty()) return T{};
  if (v.size() == 1) return v[0];
  return vector_view<T const>{v.data(), static_cast<index_t>(v.size()), 1};
}
template <class T>
nd_view<T const> nd_of(std::vector<T> const& v, tensor const& t) {
  return nd(v.data(), t.extents);
}

comparison quantize_linear(golden_case const& c) {
  comparison r;
  tensor const &x = c.inputs.at(0), &s = c.inputs.at(1), &want = c.outputs.at(0);
  onnx::quantize_attributes const a{static_cast<int>(c.attribute("axis", 1)), static_cast<index_t>(c.attribute("block_size", 0)), c.attribute("saturate", 1) != 0};
  with_real(x.type, [&](auto real_tag) {
    using real_type = typename decltype(real_tag)::type;
    with_target(want.type, [&](auto target_tag) {
      using target = decltype(target_tag);
      auto const xs = values_of<real_type>(x);
      auto const scales = values_of<real_type>(s);
      std::vector<typename target::storage> zero;
      if (c.inputs.count(2)) zero = values_of<typename target::storage>(c.inputs.at(2));
      std::vector<typename target::storage> y(xs.size());
      onnx::quantize_linear<typename target::type>(nd_of(xs, x), nd_of(scales, s), nd(static_cast<typename target::storage const*>(zero.empty() ? nullptr : zero.data()), s.extents),
                                                   nd(y.data(), x.extents), a);
      r.check(y, want);
    });
  });
  return r;
}

comparison dequantize_linear(golden_case const& c) {
  comparison r;
  tensor const &x = c.inputs.at(0), &s = c.inputs.at(1), &want = c.outputs.at(0);
  onnx::quantize_attributes const a{static_cast<int>(c.attribute("axis", 1)), static_cast<index_t>(c.attribute("block_size", 0)), true};
  with_real(s.type, [&](auto real_tag) {
    using real_type = typename decltype(real_tag)::type;
    with_target(x.type, [&](auto target_tag) {
      using storage = typename decltype(target_tag)::storage;
      auto const xs = values_of<storage>(x);
      auto const scales = values_of<real_type>(s);
      std::vector<storage> zero;
      if (c.inputs.count(2)) zero = values_of<storage>(c.inputs.at(2));
      std::vector<real_type> y(xs.size());
      onnx::dequantize_linear(nd_of(xs, x), nd_of(scales, s), nd(static_cast<storage const*>(zero.empty() ? nullptr : zero.data()), s.extents), nd(y.data(), x.extents), a);
      r.check(y, want);
    });
  });
  return r;
}

comparison dynamic_quantize_linear(golden_case const& c) {
  comparison r;
  tensor const& x = c.inputs.at(0);
  auto const xs = values_of<float>(x);
  std::vector<std::uint8_t> y(xs.size());
  auto const p = onnx::dynamic_quantize_linear(nd_of(xs, x), nd(y.data(), x.extents));
  r.check(y, c.outputs.at(0));
  r.check(std::vector<float>{p.scale}, c.outputs.at(1));
  r.check(std::vector<std::uint8_t>{static_cast<std::uint8_t>(p.zero_point)}, c.outputs.at(2));
  return r;
}

comparison qlinear_matmul(golden_case const& c) {
  comparison r;
  tensor const &a = c.inputs.at(0), &b = c.inputs.at(3), &want = c.outputs.at(0);
  with_code(a.type, [&](auto tag) {
    using t = typename decltype(tag)::storage;
    if constexpr (sizeof(t) == 1) {
      auto const va = values_of<t>(a), vb = values_of<t>(b);
      auto const sa = scales_of(c.inputs.at(1)), sb = scales_of(c.inputs.at(4)), sy = scales_of(c.inputs.at(6));
      auto const za = zero_points_of(c, 2), zb = zero_points_of(c, 5), zy = zero_points_of(c, 7);
      std::vector<t> y(want.values.size());
      onnx::qlinear_matmul(nd_of(va, a), {one_or_all(sa), one_or_all(za)}, nd_of(vb, b), {one_or_all(sb), one_or_all(zb)}, {sy.at(0), zy.at(0)}, nd(y.data(), want.extents), {},
                           c.inputs.at(1).type == "f16" ? onnx::precision::float16 : onnx::precision::of_scale);
      r.check(y, want);
    }
  });
  return r;
}

comparison matmul_integer(golden_case const& c) {
  comparison r;
  tensor const &a = c.inputs.at(0), &b = c.inputs.at(1), &want = c.outputs.at(0);
  if (a.type != "u8" || b.type != "u8") unknown("types of MatMulInteger");
  auto const va = values_of<std::uint8_t>(a), vb = values_of<std::uint8_t>(b);
  auto const za = zero_points_of(c, 2), zb = zero_points_of(c, 3);
  std::vector<std::int32_t> y(want.values.size());
  onnx::matmul_integer(nd_of(va, a), one_or_all(za), nd_of(vb, b), one_or_all(zb), nd(y.data(), want.extents));
  r.check(y, want);
  return r;
}

conv_options conv_of(golden_case const& c) {
  conv_options o;
  for (auto const& [key, v] : c.attributes) {
    if (key == "pads")
      o.padding = {padding_rule::given, std::stol(v.at(0)), std::stol(v.at(2)), std::stol(v.at(1)), std::stol(v.at(3))};
    else
      unknown("attribute " + key);
  }
  return o;
}

comparison conv_integer(golden_case const& c) {
  comparison r;
  tensor const &x = c.inputs.at(0), &w = c.inputs.at(1), &want = c.outputs.at(0);
  if (x.type != "u8" || w.type != "u8") unknown("types of ConvInteger");
  auto const vx = values_of<std::uint8_t>(x), vw = values_of<std::uint8_t>(w);
  auto const zx = zero_points_of(c, 2), zw = zero_points_of(c, 3);
  std::vector<std::int32_t> y(want.values.size());
  onnx::conv_integer(nd_of(vx, x), zx.empty() ? 0 : zx[0], nd_of(vw, w), one_or_all(zw), nd(y.data(), want.extents), conv_of(c));
  r.check(y, want);
  return r;
}

comparison qlinear_conv(golden_case const& c) {
  comparison r;
  tensor const &x = c.inputs.at(0), &w = c.inputs.at(3), &want = c.outputs.at(0);
  if (x.type != "u8" || w.type != "u8" || want.type != "u8") unknown("types of QLinearConv");
  auto const vx = values_of<std::uint8_t>(x), vw = values_of<std::uint8_t>(w);
  auto const sw = scales_of(c.inputs.at(4));
  auto const zw = zero_points_of(c, 5), bias = zero_points_of(c, 8);
  std::vector<std::uint8_t> y(want.values.size());
  onnx::qlinear_conv(nd_of(vx, x), {scales_of(c.inputs.at(1)).at(0), zero_points_of(c, 2).at(0)}, nd_of(vw, w), {one_or_all(sw), one_or_all(zw)},
                     {scales_of(c.inputs.at(6)).at(0), zero_points_of(c, 7).at(0)}, view(bias), nd(y.data(), want.extents), conv_of(c));
  r.check(y, want);
  return r;
}

/// Cast: from and to are told by the tensors' types.
comparison cast(golden_case const& c) {
  comparison r;
  tensor const &x = c.inputs.at(0), &want = c.outputs.at(0);
  bool const saturate = c.attribute("saturate", 1) != 0;
  if (want.type == "f8e8m0") {
    auto const mode = c.attributes.count("round_mode") ? c.attributes.at("round_mode").at(0) : "up";
    auto const rounding = mode == "up" ? codec::power_rounding::up : mode == "down" ? codec::power_rounding::down : codec::power_rounding::nearest;
    std::vector<std::uint8_t> y;
    for (float v : scales_of(x)) y.push_back(codec::float8_e8m0::encode(v, rounding, saturate ? codec::overflow::saturate : codec::overflow::to_special).bits);
    r.check(y, want);
  } else if (x.type == "f8e8m0") {
    with_real(want.type, [&](auto tag) {
      std::vector<typename decltype(tag)::type> y;
      for (std::int64_t v : x.values) y.push_back(static_cast<typename decltype(tag)::type>(static_cast<float>(codec::float8_e8m0::from_bits(static_cast<unsigned>(v)))));
      r.check(y, want);
    });
  } else if (is_real(x.type)) {
    with_real(x.type, [&](auto from) {
      with_target(want.type, [&](auto to) {
        auto const v = values_of<typename decltype(from)::type>(x);
        std::vector<typename decltype(to)::storage> y(v.size());
        onnx::cast<typename decltype(to)::type>(nd_of(v, x), nd(y.data(), x.extents), saturate);
        r.check(y, want);
      });
    });
  } else {
    with_target(x.type, [&](auto from) {
      auto const v = values_of<typename decltype(from)::storage>(x);
      if (is_real(want.type))
        with_real(want.type, [&](auto to) {
          std::vector<typename decltype(to)::type> y;
          for (auto e : v) y.push_back(static_cast<typename decltype(to)::type>(static_cast<float>(e)));
          r.check(y, want);
        });
      else
        with_code(want.type, [&](auto to) {
          std::vector<typename decltype(to)::storage> y(v.size());
          onnx::cast<typename decltype(to)::type>(nd_of(v, x), nd(y.data(), x.extents), saturate);
          r.check(y, want);
        });
    });
  }
  return r;
}

comparison replay(golden_case const& c) {
  if (c.op == "QuantizeLinear") return quantize_linear(c);
  if (c.op == "DequantizeLinear") return dequantize_linear(c);
  if (c.op == "DynamicQuantizeLinear") return dynamic_quantize_linear(c);
  if (c.op == "QLinearMatMul") return qlinear_matmul(c);
  if (c.op == "MatMulInteger") return matmul_integer(c);
  if (c.op == "ConvInteger") return conv_integer(c);
  if (c.op == "QLinearConv") return qlinear_conv(c);
  if (c.op == "Cast") return cast(c);
  unknown("operator " + c.op);
}

}  // namespace

TEST_CASE("the official ONNX node tests give the same bits", "[golden]") {
  char const* const given = std::getenv("QUERN_GOLDEN_DIR");
  std::filesystem::path const folder = std::filesystem::path(given != nullptr ? given : QUERN_GOLDEN_DIR) / "onnx";
  if (!std::filesystem::is_directory(folder)) {
    std::cout << "golden/onnx: NOT replayed, " << folder << " is not there (set QUERN_GOLDEN_DIR)\n";
    SUCCEED();
    return;
  }
  std::vector<std::filesystem::path> files;
  for (auto const& f : std::filesystem::directory_iterator(folder))
    if (f.path().extension() == ".txt" && f.path().filename() != "INDEX.txt") files.push_back(f.path());
  std::sort(files.begin(), files.end());
  struct row {
    long cases = 0, values = 0, wrong = 0, failed = 0;
  };
  std::map<std::string, row> table;
  for (auto const& f : files) {
    std::string op = "(not parsed)";
    try {
      golden_case const c = parse(f);
      op = c.op;
      comparison const r = replay(c);
      row& t = table[op];
      ++t.cases;
      t.values += r.values;
      t.wrong += r.wrong;
      if (r.values == 0 || r.wrong != 0) {
        ++t.failed;
        FAIL_CHECK(c.name << ": " << r.wrong << " of " << r.values << " values differ");
      }
    } catch (std::exception const& e) {
      ++table[op].failed;
      FAIL_CHECK(f.filename().string() << ": " << e.what());
    }
  }
  row sum;
  std::cout << "golden/onnx              cases   values  mismatches\n";
  for (auto const& [op, t] : table) {
    std::printf("  %-22s %5ld %8ld %8ld%s\n", op.c_str(), t.cases, t.values, t.wrong, t.failed ? "  FAILED" : "");
    sum.cases += t.cases, sum.values += t.values, sum.wrong += t.wrong;
  }
  std::printf("  %-22s %5ld %8ld %8ld\n", "all", sum.cases, sum.values, sum.wrong);
  CHECK(sum.cases == static_cast<long>(files.size()));
  CHECK(sum.cases == 94);
}
