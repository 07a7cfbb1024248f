// bridge.cpp — quern's framework operators as C functions, for the oracles that run in other languages (scripts/oracles).
//
// Codes travel as int32 whatever their type; `type` is "s8", "u8", "s16", "u16", "s32", "s4", "u4", "s2" or "u2", for ONNX also a small
// float ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e2m1"), as the bits of its code. Every function returns 0, or 1 after printing what
// was wrong.
#include <quern/ops/pytorch.hpp>
#include <quern/ops/tflite.hpp>
#include <quern/ops/tvm.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

using namespace quern;
using convention::affine;
using std::int32_t;

namespace {

template <class Code>
struct tag {
  using code = Code;
  using storage = detail::onnx_storage_t<Code>;
};

template <class F>
void with_type(std::string const& t, F&& f) {
  if (t == "s8") return f(tag<s8>{});
  if (t == "u8") return f(tag<u8>{});
  throw std::runtime_error("type " + t);
}
template <class F>
void with_any_type(std::string const& t, F&& f) {
  if (t == "s16") return f(tag<s16>{});
  if (t == "u16") return f(tag<u16>{});
  if (t == "s4") return f(tag<s4>{});
  if (t == "u4") return f(tag<u4>{});
  if (t == "s32") return f(tag<s32>{});
  with_type(t, f);
}
/// What ONNX's QuantizeLinear makes and DequantizeLinear takes.
template <class F>
void with_target(std::string const& t, F&& f) {
  if (t == "s2") return f(tag<s2>{});
  if (t == "u2") return f(tag<u2>{});
  if (t == "e4m3fn") return f(tag<codec::float8_e4m3fn>{});
  if (t == "e5m2") return f(tag<codec::float8_e5m2>{});
  if (t == "e4m3fnuz") return f(tag<codec::float8_e4m3fnuz>{});
  if (t == "e5m2fnuz") return f(tag<codec::float8_e5m2fnuz>{});
  if (t == "e2m1") return f(tag<codec::float4_e2m1>{});
  with_any_type(t, f);
}
template <class F>
void with_system(std::string const& s, F&& f) {
  if (s == "pytorch") return f(convention::pytorch{});
  if (s == "pytorch_onednn") return f(convention::pytorch_onednn{});
  if (s == "pytorch_qnnpack") return f(convention::pytorch_qnnpack{});
  if (s == "onnx_runtime") return f(convention::onnx_runtime{});
  throw std::runtime_error("system " + s);
}

template <class T>
std::vector<T> narrowed(int32_t const* x, long n) {
  std::vector<T> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i)
    if constexpr (detail::is_minifloat<T>)
      v[i] = T::from_bits(static_cast<unsigned>(x[i]));
    else
      v[i] = static_cast<T>(x[i]);
  return v;
}
template <class T>
void widened(std::vector<T> const& v, int32_t* y) {
  for (std::size_t i = 0; i < v.size(); ++i)
    if constexpr (detail::is_minifloat<T>)
      y[i] = v[i].bits;
    else
      y[i] = static_cast<int32_t>(v[i]);
}
/// Floats, or the halves that hold them exactly.
template <class Real>
std::vector<Real> as_real(float const* x, long n) {
  std::vector<Real> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<Real>(x[i]);
  return v;
}
/// The scales of an outer x extent x inner tensor: block < 0: one; 0: one for each position of the middle axis; else one for each block of it.
shape shape_of_scales(long outer, long extent, long inner, long block) {
  return block < 0 ? make_shape() : block == 0 ? make_shape(extent) : make_shape(outer, (extent + block - 1) / block, inner);
}
template <class T>
vector_view<T const> seen(std::vector<T> const& v) {
  return {v.data(), static_cast<index_t>(v.size()), 1};
}
template <class T>
one_or_each<T> one_or_all(T const* p, long n) {
  if (n <= 1) return p[0];
  return vector_view<T const>{p, n, 1};
}

template <class F>
int guarded(F&& f) {
  try {
    f();
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bridge: %s\n", e.what());
    return 1;
  }
}

}  // namespace

extern "C" {

struct quantized {
  float scale;
  int32_t zero_point;
};

int quern_quantize(char const* system, char const* type, float const* x, long n, quantized p, int32_t* y) {
  return guarded([&] {
    with_any_type(type, [&](auto t) {
      with_system(system, [&](auto c) {
        std::vector<typename decltype(t)::storage> q(static_cast<std::size_t>(n));
        quantize_as<decltype(c), typename decltype(t)::code>(vector_view<float const>{x, n, 1}, {p.scale, p.zero_point}, view(q));
        widened(q, y);
      });
    });
  });
}

/// Seconds of the fastest of `repeats` calls of quantize_as to uint8.
double quern_time_quantize(char const* system, float const* x, long n, quantized p, long repeats) {
  std::vector<std::uint8_t> y(static_cast<std::size_t>(n));
  double best = 1e9;
  guarded([&] {
    with_system(system, [&](auto c) {
      for (long i = 0; i < repeats; ++i) {
        auto const begin = std::chrono::steady_clock::now();
        quantize_as<decltype(c), u8>(vector_view<float const>{x, n, 1}, {p.scale, p.zero_point}, view(y));
        double const t = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        best = t < best ? t : best;
      }
    });
  });
  return best;
}

/// QuantizeLinear of outer x extent x inner values of type `real` ("f32", "f16"), with scales as shape_of_scales has them.
int quern_quantize_linear(char const* type, char const* real, float const* x, long outer, long extent, long inner, long block, float const* scales,
                          int32_t const* zero_points, int saturate, int32_t* y) {
  return guarded([&] {
    with_target(type, [&](auto t) {
      using target = decltype(t);
      using storage = typename target::storage;
      auto const of_scales = shape_of_scales(outer, extent, inner, block);
      auto const all = make_shape(outer, extent, inner);
      std::vector<storage> zero, q(static_cast<std::size_t>(all.size()));
      if (zero_points != nullptr) zero = narrowed<storage>(zero_points, of_scales.size());
      onnx::quantize_attributes const a{.axis = 1, .block_size = block > 0 ? block : 0, .saturate = saturate != 0};
      auto const run = [&](auto x_data, auto s_data) {
        onnx::quantize_linear<typename target::code, convention::onnx_runtime>(nd(x_data, all), nd(s_data, of_scales),
                                                                               nd(static_cast<storage const*>(zero.empty() ? nullptr : zero.data()), of_scales), nd(q.data(), all), a);
      };
      if (std::string(real) == "f32") {
        run(x, scales);
      } else {
        auto const hx = as_real<half>(x, all.size()), hs = as_real<half>(scales, of_scales.size());
        run(hx.data(), hs.data());
      }
      widened(q, y);
    });
  });
}

/// DequantizeLinear, likewise; y holds what a half holds when real is "f16".
int quern_dequantize_linear(char const* type, char const* real, int32_t const* x, long outer, long extent, long inner, long block, float const* scales,
                            int32_t const* zero_points, float* y) {
  return guarded([&] {
    with_target(type, [&](auto t) {
      using storage = typename decltype(t)::storage;
      auto const of_scales = shape_of_scales(outer, extent, inner, block);
      auto const all = make_shape(outer, extent, inner);
      auto const q = narrowed<storage>(x, all.size());
      std::vector<storage> zero;
      if (zero_points != nullptr) zero = narrowed<storage>(zero_points, of_scales.size());
      onnx::quantize_attributes const a{.axis = 1, .block_size = block > 0 ? block : 0};
      auto const run = [&](auto s_data, auto y_data) {
        onnx::dequantize_linear<convention::onnx_runtime>(nd(q.data(), all), nd(s_data, of_scales), nd(static_cast<storage const*>(zero.empty() ? nullptr : zero.data()), of_scales), nd(y_data, all), a);
      };
      if (std::string(real) == "f32") return run(scales, y);
      auto const hs = as_real<half>(scales, of_scales.size());
      std::vector<half> hy(static_cast<std::size_t>(all.size()));
      run(hs.data(), hy.data());
      for (std::size_t i = 0; i < hy.size(); ++i) y[i] = static_cast<float>(hy[i]);
    });
  });
}

/// torch.quantize_per_channel of a rows x cols matrix, axis 0.
int quern_quantize_per_channel(char const* type, float const* x, long rows, long cols, double const* scales, std::int64_t const* zero_points, int32_t* y) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      std::vector<typename decltype(t)::storage> q(static_cast<std::size_t>(rows * cols));
      pytorch::quantize_per_channel<typename decltype(t)::code>(nd(x, make_shape(rows, cols)), view(scales, rows), view(zero_points, rows), 0, nd(q.data(), make_shape(rows, cols)));
      widened(q, y);
    });
  });
}

int quern_dequantize(char const* system, char const* type, int32_t const* q, long n, quantized p, float* y) {
  return guarded([&] {
    with_any_type(type, [&](auto t) {
      with_system(system, [&](auto c) {
        auto const v = narrowed<typename decltype(t)::storage>(q, n);
        dequantize_as<decltype(c)>(seen(v), {p.scale, p.zero_point}, view(y, n));
      });
    });
  });
}

/// Parameters from the range min[i] .. max[i].
int quern_choose(char const* system, char const* type, float const* min, float const* max, long n, float* scale, int32_t* zero_point) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      with_system(system, [&](auto c) {
        for (long i = 0; i < n; ++i) {
          auto const p = decltype(c)::template choose<typename decltype(t)::code>(real_range{min[i], max[i]});
          scale[i] = p.scale;
          zero_point[i] = p.zero_point;
        }
      });
    });
  });
}
int quern_choose_symmetric(float const* min, float const* max, long n, int32_t qmin, int32_t qmax, int32_t middle, float* scale, int32_t* zero_point) {
  return guarded([&] {
    for (long i = 0; i < n; ++i) {
      auto const p = convention::pytorch::calculate_qparams_symmetric({min[i], max[i]}, qmin, qmax, middle);
      scale[i] = p.scale;
      zero_point[i] = p.zero_point;
    }
  });
}

/// DynamicQuantizeLinear of each row: the codes, and the parameters.
int quern_dynamic_quantize(float const* x, long rows, long n, int32_t* y, float* scales, int32_t* zero_points) {
  return guarded([&] {
    std::vector<std::uint8_t> q(static_cast<std::size_t>(n));
    for (long r = 0; r < rows; ++r) {
      auto const chosen = onnx::dynamic_quantize_linear<convention::onnx_runtime>(nd(x + r * n, make_shape(n)), nd(q.data(), make_shape(n)));
      widened(q, y + r * n);
      scales[r] = chosen.scale;
      zero_points[r] = chosen.zero_point;
    }
  });
}

int quern_binary(char const* system, char const* op, char const* type, int32_t const* a, int32_t const* b, long n, long b_count, quantized pa, quantized pb,
                 quantized py, int32_t* y) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      with_system(system, [&](auto c) {
        using storage = typename decltype(t)::storage;
        using system_type = decltype(c);
        auto const va = narrowed<storage>(a, n), vb = narrowed<storage>(b, b_count);
        std::vector<storage> q(static_cast<std::size_t>(n));
        auto const na = nd(va.data(), make_shape(n)), nb = nd(vb.data(), make_shape(b_count));
        auto const ny = nd(q.data(), make_shape(n));
        affine const fa{pa.scale, pa.zero_point}, fb{pb.scale, pb.zero_point}, fy{py.scale, py.zero_point};
        bool const ort = std::is_same_v<system_type, convention::onnx_runtime>;
        if (std::string(op) == "add")
          ort ? onnx::com_microsoft::qlinear_add<system_type>(na, fa, nb, fb, fy, ny) : pytorch::add<system_type>(na, fa, nb, fb, ny, fy);
        else
          ort ? onnx::com_microsoft::qlinear_mul<system_type>(na, fa, nb, fb, fy, ny) : pytorch::mul<system_type>(na, fa, nb, fb, ny, fy);
        widened(q, y);
      });
    });
  });
}

/// QLinearMatMul / QGemm: a m x k, b k x n; `scales` and `zero_points` of b: one or n. bias may be null.
int quern_qgemm(char const* a_type, char const* b_type, char const* y_type, long m, long k, long n, int32_t const* a, quantized pa, int32_t const* b, float const* scales,
                int32_t const* zero_points, long count, int32_t const* bias, float alpha, quantized py, int32_t* y) {
  return guarded([&] {
    with_type(a_type, [&](auto ta) {
      with_type(b_type, [&](auto tb) {
        with_type(y_type, [&](auto ty) {
          auto const va = narrowed<typename decltype(ta)::storage>(a, m * k);
          auto const vb = narrowed<typename decltype(tb)::storage>(b, k * n);
          std::vector<typename decltype(ty)::storage> q(static_cast<std::size_t>(m * n));
          onnx::operand const pb{one_or_all(scales, count), one_or_all(zero_points, count)};
          affine const fa{pa.scale, pa.zero_point}, fy{py.scale, py.zero_point};
          if (bias == nullptr && alpha == 1.0f)
            onnx::qlinear_matmul(nd(va.data(), make_shape(m, k)), {fa.scale, fa.zero_point}, nd(vb.data(), make_shape(k, n)), pb, fy, nd(q.data(), make_shape(m, n)));
          else
            onnx::com_microsoft::qgemm(row_major(va.data(), m, k), fa, row_major(vb.data(), k, n), pb, vector_view<int32_t const>{bias, bias == nullptr ? 0 : n, 1}, fy, row_major(q.data(), m, n), alpha);
          widened(q, y);
        });
      });
    });
  });
}

/// QGemm with float output: a m x k or, transposed, k x m; b k x n or n x k.
int quern_qgemm_float(char const* a_type, char const* b_type, long m, long k, long n, int32_t const* a, quantized pa, int trans_a, int32_t const* b, float const* scales,
                      int32_t const* zero_points, long count, int trans_b, int32_t const* bias, float alpha, float* y) {
  return guarded([&] {
    with_type(a_type, [&](auto ta) {
      with_type(b_type, [&](auto tb) {
        auto const va = narrowed<typename decltype(ta)::storage>(a, m * k);
        auto const vb = narrowed<typename decltype(tb)::storage>(b, k * n);
        onnx::operand const pb{one_or_all(scales, count), one_or_all(zero_points, count)};
        onnx::com_microsoft::qgemm(trans_a ? row_major(va.data(), k, m) : row_major(va.data(), m, k), affine{pa.scale, pa.zero_point},
                                   trans_b ? row_major(vb.data(), n, k) : row_major(vb.data(), k, n), pb, vector_view<int32_t const>{bias, bias == nullptr ? 0 : n, 1},
                                   row_major(y, m, n), alpha, trans_a != 0, trans_b != 0);
      });
    });
  });
}

/// MatMulInteger with a zero point for each row of a and column of b.
int quern_matmul_integer(char const* a_type, char const* b_type, long m, long k, long n, int32_t const* a, int32_t const* a_zero, long a_count, int32_t const* b, int32_t const* b_zero,
                         long b_count, int32_t* y) {
  return guarded([&] {
    with_type(a_type, [&](auto ta) {
      with_type(b_type, [&](auto tb) {
        auto const va = narrowed<typename decltype(ta)::storage>(a, m * k);
        auto const vb = narrowed<typename decltype(tb)::storage>(b, k * n);
        onnx::matmul_integer(nd(va.data(), make_shape(m, k)), one_or_all(a_zero, a_count), nd(vb.data(), make_shape(k, n)), one_or_all(b_zero, b_count), nd(y, make_shape(m, n)));
      });
    });
  });
}

struct conv_geometry {
  long n, c, h, w, outputs, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w, groups, out_h, out_w;
  long spatial, d, kernel_d, stride_d, pad_front, pad_back, dilation_d, out_d;  // spatial dimensions: 1 (W), 2 (H W), 3 (D H W)
};

/// py null: ConvInteger. bias_float: PyTorch's, quantized inside; bias: QLinearConv's.
int quern_conv(char const* system, char const* x_type, char const* w_type, conv_geometry g, int32_t const* x, quantized px, int32_t const* w, float const* scales,
               int32_t const* zero_points, long count, int32_t const* bias, float const* bias_float, quantized const* py, int32_t* y) {
  return guarded([&] {
    with_type(x_type, [&](auto tx) {
      with_type(w_type, [&](auto tw) {
        conv_options const o{.stride = {g.stride_h, g.stride_w, g.stride_d}, .dilation = {g.dilation_h, g.dilation_w, g.dilation_d},
                             .padding = pad(g.pad_top, g.pad_bottom, g.pad_left, g.pad_right, g.pad_front, g.pad_back), .groups = g.groups};
        auto const layout = [&g](long outer, long channels, long d, long h, long width) {
          return g.spatial == 1 ? make_shape(outer, channels, width) : g.spatial == 2 ? make_shape(outer, channels, h, width) : make_shape(outer, channels, d, h, width);
        };
        auto const sx = layout(g.n, g.c, g.d, g.h, g.w), sw = layout(g.outputs, g.c / g.groups, g.kernel_d, g.kernel_h, g.kernel_w);
        auto const out = layout(g.n, g.outputs, g.out_d, g.out_h, g.out_w);
        auto const vx = narrowed<typename decltype(tx)::storage>(x, sx.size());
        auto const vw = narrowed<typename decltype(tw)::storage>(w, sw.size());
        auto const nx = nd(vx.data(), sx);
        auto const nw = nd(vw.data(), sw);
        onnx::operand const pw{one_or_all(scales, count), one_or_all(zero_points, count)};
        if (py == nullptr) return onnx::conv_integer(nx, px.zero_point, nw, pw.zero_point, nd(y, out), o);
        std::vector<typename decltype(tx)::storage> q(static_cast<std::size_t>(out.size()));
        affine const fx{px.scale, px.zero_point}, fy{py->scale, py->zero_point};
        if (std::string(system) == "onnx_runtime")
          onnx::qlinear_conv(nx, fx, nw, pw, fy, vector_view<int32_t const>{bias, bias == nullptr ? 0 : g.outputs, 1}, nd(q.data(), out), o);
        else
          [&](auto const& run) { std::string(system) == "pytorch_onednn" ? run(convention::pytorch_onednn{}) : run(convention::pytorch_qnnpack{}); }([&](auto engine) {
            vector_view<float const> const real_bias{bias_float, bias_float == nullptr ? 0 : g.outputs, 1};
            if (g.spatial == 1) return pytorch::conv1d<decltype(engine)>(nx, fx, nw, pw, real_bias, nd(q.data(), out), fy, o);
            if (g.spatial == 2) return pytorch::conv2d<decltype(engine)>(nx, fx, nw, pw, real_bias, nd(q.data(), out), fy, o);
            pytorch::conv3d<decltype(engine)>(nx, fx, nw, pw, real_bias, nd(q.data(), out), fy, o);
          });
        widened(q, y);
      });
    });
  });
}

/// quantized::linear: x m x k, w n x k.
int quern_linear(char const* system, long m, long k, long n, int32_t const* x, quantized px, int32_t const* w, float const* scales, int32_t const* zero_points, long count, float const* bias, quantized py,
                 int relu, int32_t* y) {
  return guarded([&] {
    auto const vx = narrowed<std::uint8_t>(x, m * k);
    auto const vw = narrowed<std::int8_t>(w, n * k);
    std::vector<std::uint8_t> q(static_cast<std::size_t>(m * n));
    auto const run = [&](auto engine) {
      pytorch::linear<decltype(engine)>(row_major(vx.data(), m, k), {px.scale, px.zero_point}, row_major(vw.data(), n, k), {one_or_all(scales, count), one_or_all(zero_points, count)},
                                        vector_view<float const>{bias, bias == nullptr ? 0 : n, 1}, row_major(q.data(), m, n), {py.scale, py.zero_point}, relu != 0);
    };
    std::string(system) == "pytorch_onednn" ? run(convention::pytorch_onednn{}) : run(convention::pytorch_qnnpack{});
    widened(q, y);
  });
}

int quern_fake_quantize(float const* x, long n, quantized p, int32_t qmin, int32_t qmax, float* y, unsigned char* mask) {
  return guarded([&] {
    buffer<bool> passes(n);
    pytorch::fake_quantize_per_tensor_affine(nd(x, make_shape(n)), static_cast<double>(p.scale), p.zero_point, qmin, qmax, nd(y, make_shape(n)), passes.data());
    for (long i = 0; i < n; ++i) mask[i] = passes[i];
  });
}
int quern_fake_quantize_channel(float const* x, long rows, long cols, float const* scales, int32_t const* zero_points, int32_t qmin, int32_t qmax, float* y, unsigned char* mask) {
  return guarded([&] {
    buffer<bool> passes(rows * cols);
    pytorch::fake_quantize_per_channel_affine(nd(x, make_shape(rows, cols)), view(scales, rows), view(zero_points, rows), 0, qmin, qmax, nd(y, make_shape(rows, cols)), passes.data());
    for (long i = 0; i < rows * cols; ++i) mask[i] = passes[i];
  });
}
/// For each row of n values: dx, and the gradients of its own scale and zero point.
int quern_learnable(float const* x, float const* dy, long rows, long n, float const* scales, float const* zero_points, int32_t qmin, int32_t qmax, float factor, float* dx,
                    double* dscale, double* dzero) {
  return guarded([&] {
    for (long r = 0; r < rows; ++r) {
      auto const g = pytorch::fake_quantize_learnable_backward(view(x + r * n, n), view(dy + r * n, n), scales[r], zero_points[r], qmin, qmax, factor, view(dx + r * n, n));
      dscale[r] = g.scale;
      dzero[r] = g.zero_point;
    }
  });
}

int quern_unary(char const* op, char const* type, int32_t const* x, long n, quantized px, float alpha, quantized py, int32_t* y) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      using storage = typename decltype(t)::storage;
      auto const v = narrowed<storage>(x, n);
      std::vector<storage> q(static_cast<std::size_t>(n));
      auto const s = make_shape(n);
      affine const fx{px.scale, px.zero_point}, fy{py.scale, py.zero_point};
      if (std::string(op) == "sigmoid")
        onnx::com_microsoft::qlinear_sigmoid(nd(v.data(), s), fx, fy, nd(q.data(), s));
      else
        onnx::com_microsoft::qlinear_leaky_relu(nd(v.data(), s), fx, alpha, fy, nd(q.data(), s));
      widened(q, y);
    });
  });
}

int quern_softmax(char const* type, int32_t const* x, long rows, long cols, quantized px, quantized py, int32_t* y) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      auto const v = narrowed<typename decltype(t)::storage>(x, rows * cols);
      std::vector<typename decltype(t)::storage> q(v.size());
      onnx::com_microsoft::qlinear_softmax(row_major(v.data(), rows, cols), {px.scale, px.zero_point}, {py.scale, py.zero_point}, row_major(q.data(), rows, cols));
      widened(q, y);
    });
  });
}

/// NCHW, or NHWC where `channels_last`; global when kernel is 0.
int quern_average_pool(char const* system, char const* type, int channels_last, int32_t const* x, long n, long c, long h, long w, long kernel, long stride, long pad, quantized px,
                       quantized py, int include_pad, long out_h, long out_w, int32_t* y) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      using storage = typename decltype(t)::storage;
      auto const v = narrowed<storage>(x, n * c * h * w);
      std::vector<storage> q(static_cast<std::size_t>(n * c * out_h * out_w));
      affine const fx{px.scale, px.zero_point}, fy{py.scale, py.zero_point};
      auto const src = channels_last ? nhwc(v.data(), n, h, w, c) : nchw(v.data(), n, c, h, w);
      auto const dst = channels_last ? nhwc(q.data(), n, out_h, out_w, c) : nchw(q.data(), n, c, out_h, out_w);
      pool_options const o{.size = {kernel, kernel}, .stride = {stride, stride}, .padding = {padding_rule::given, pad, pad, pad, pad}};
      std::string const s = system;
      if (kernel == 0)
        onnx::com_microsoft::qlinear_global_average_pool(src, fx, fy, dst);
      else if (s == "onnx_runtime")
        onnx::com_microsoft::qlinear_average_pool(src, fx, o, fy, dst, include_pad != 0);
      else {
        // pools want NHWC
        std::vector<storage> last(v.size()), out(q.size());
        auto const a = nhwc(last.data(), n, h, w, c);
        auto const b = nhwc(out.data(), n, out_h, out_w, c);
        for (index_t i = 0; i < n; ++i)
          for (index_t yy = 0; yy < h; ++yy)
            for (index_t xx = 0; xx < w; ++xx)
              for (index_t k = 0; k < c; ++k) a(i, yy, xx, k) = src(i, yy, xx, k);
        if (s == "pytorch_qnnpack")
          average_pool2d<convention::pytorch_qnnpack>(tensor_view<storage const>(a), fx, o, b, fy);
        else
          average_pool2d<convention::pytorch>(tensor_view<storage const>(a), fx, o, b, fy);
        for (index_t i = 0; i < n; ++i)
          for (index_t yy = 0; yy < out_h; ++yy)
            for (index_t xx = 0; xx < out_w; ++xx)
              for (index_t k = 0; k < c; ++k) dst(i, yy, xx, k) = b(i, yy, xx, k);
      }
      widened(q, y);
    });
  });
}

/// MatMulInteger's sums and QLinearMatMul's codes of a batch, b with a scale and zero point for each column of each matrix.
int quern_batched_products(char const* a_type, char const* b_type, long batch, long m, long k, long n, int32_t const* a, quantized pa, int32_t const* b, float const* scales,
                           int32_t const* zeros, quantized py, int32_t* integers, int32_t* codes) {
  return guarded([&] {
    with_type(a_type, [&](auto ta) {
      with_type(b_type, [&](auto tb) {
        auto const va = narrowed<typename decltype(ta)::storage>(a, batch * m * k);
        auto const vb = narrowed<typename decltype(tb)::storage>(b, batch * k * n);
        std::vector<typename decltype(ta)::storage> y(static_cast<std::size_t>(batch * m * n));
        vector_view<int32_t const> const zb{zeros, batch * n, 1};
        auto const na = nd(va.data(), make_shape(batch, m, k));
        auto const nb = nd(vb.data(), make_shape(batch, k, n));
        onnx::matmul_integer(na, pa.zero_point, nb, zb, nd(integers, make_shape(batch, m, n)));
        onnx::qlinear_matmul(na, {pa.scale, pa.zero_point}, nb, {vector_view<float const>{scales, batch * n, 1}, zb}, {py.scale, py.zero_point}, nd(y.data(), make_shape(batch, m, n)));
        widened(y, codes);
      });
    });
  });
}

/// NCDHW, or NDHWC where `channels_last`. shape: d h w of the volume, the kernel (0 0 0: global), the strides, the padding before and after,
/// and the result; ceil_mode is the caller's, who says what it makes.
int quern_average_pool_3d(char const* type, int channels_last, int32_t const* x, long n, long c, int32_t const* shape, quantized px, quantized py, int include_pad, int ceil_mode,
                          int32_t* y) {
  return guarded([&] {
    with_type(type, [&](auto t) {
      using storage = typename decltype(t)::storage;
      auto const* const s = shape;
      index_t const d = s[0], h = s[1], w = s[2], od = s[15], oh = s[16], ow = s[17];
      auto const v = narrowed<storage>(x, n * c * d * h * w);
      std::vector<storage> q(static_cast<std::size_t>(n * c * od * oh * ow));
      auto const placed = [&](auto* data, index_t z, index_t i, index_t j) {
        return channels_last ? volume_view(data, n, z, i, j, c) : volume_view(data, n, z, i, j, c, c * z * i * j, i * j, j, index_t{1}, z * i * j);
      };
      auto const src = placed(v.data(), d, h, w);
      auto const dst = placed(q.data(), od, oh, ow);
      affine const fx{px.scale, px.zero_point}, fy{py.scale, py.zero_point};
      pool_options o{.size = {s[4], s[5], s[3]}, .stride = {s[7], s[8], s[6]}, .padding = pad(s[10], s[13], s[11], s[14], s[9], s[12])};
      if (ceil_mode) o = onnx::com_microsoft::with_ceil_mode({h, w, d}, o);
      if (s[3] == 0)
        onnx::com_microsoft::qlinear_global_average_pool(src, fx, fy, dst);
      else
        onnx::com_microsoft::qlinear_average_pool(src, fx, o, fy, dst, include_pad != 0);
      widened(q, y);
    });
  });
}

/// DynamicQuantizeMatMul (a float) and MatMulIntegerToFloat (a_codes, when not null).
int quern_dynamic_matmul(char const* b_type, long m, long k, long n, float const* a, int32_t const* a_codes, quantized pa, int32_t const* b, float const* scales,
                         int32_t const* zero_points, long count, float const* bias, float* y) {
  return guarded([&] {
    with_type(b_type, [&](auto tb) {
      auto const vb = narrowed<typename decltype(tb)::storage>(b, k * n);
      auto const weights = pack(row_major(vb.data(), k, n));
      onnx::operand const pb{one_or_all(scales, count), one_or_all(zero_points, count)};
      vector_view<float const> const add{bias, bias == nullptr ? 0 : n, 1};
      if (a_codes == nullptr)
        return onnx::com_microsoft::dynamic_quantize_matmul(row_major(a, m, k), weights, pb, add, row_major(y, m, n));
      auto const va = narrowed<std::uint8_t>(a_codes, m * k);
      onnx::com_microsoft::matmul_integer_to_float(row_major(va.data(), m, k), {pa.scale, pa.zero_point}, weights, pb, add, row_major(y, m, n));
    });
  });
}

int quern_matmul_nbits(int bits, long m, long k, long n, long block, float const* a, std::uint8_t const* codes, float const* scales, std::uint8_t const* zero_points, float const* bias,
                       int int8, float* y) {
  return guarded([&] {
    auto const run = [&](auto weights) {
      decltype(weights) const w{.n = n, .k = k, .block = block, .codes = codes, .scales = scales, .zero_points = zero_points};
      vector_view<float const> const add{bias, bias == nullptr ? 0 : n, 1};
      int8 != 0 ? onnx::com_microsoft::matmul_nbits_int8(row_major(a, m, k), w, add, row_major(y, m, n)) : onnx::com_microsoft::matmul_nbits(row_major(a, m, k), w, add, row_major(y, m, n));
    };
    using onnx::com_microsoft::n_bit_weights;
    bits == 2 ? run(n_bit_weights<2>{}) : bits == 4 ? run(n_bit_weights<4>{}) : run(n_bit_weights<8>{});
  });
}

}  // extern "C"
