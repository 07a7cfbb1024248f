// layers.hpp — makes a closure of each operator: TFLite's options and quantization parameters to quern's operations.
//
// Included by one file for each rounding, so that two cores can compile them.
#pragma once

#include "network.hpp"

#include <quern/ops/batch_matmul.hpp>
#include <quern/ops/conv16x8.hpp>
#include <quern/ops/conv2d.hpp>
#include <quern/ops/depthwise.hpp>
#include <quern/ops/pool.hpp>
#include <quern/ops/rearrange.hpp>
#include <quern/ops/reduce.hpp>
#include <quern/ops/resize.hpp>
#include <quern/ops/svdf.hpp>
#include <quern/fixed_point/activation.hpp>
#include <quern/fixed_point/softmax.hpp>
#include <quern/rescale/tflite_single.hpp>

#include <cmath>
#include <limits>
#include <memory>

namespace run_tflite {

using namespace quern;

template <class Rescale>
class layer_maker {
  using parameters = typename Rescale::parameters;

 public:
  layer_maker(model& m, std::vector<unsigned char*> const& data, gemm_options const& run) : m_(m), data_(data), run_(run) {}

  layer make(operation const& o) {
    o_ = &o;
    made_ = {};
    made_.op = operator_name(o.code);
    for (int const i : o.inputs)
      if (i >= 0 && !m_.tensors[i].constant) made_.inputs.push_back(i);
    made_.outputs = o.outputs;
    if (o.outputs.empty()) refuse("has no output");
    switch (static_cast<op>(o.code)) {
      case op::conv: conv(); break;
      case op::depthwise_conv: depthwise(); break;
      case op::transpose_conv: transpose_conv(); break;
      case op::fully_connected: fully_connected(); break;
      case op::batch_matmul: batch_matmul(); break;
      case op::svdf: svdf(); break;
      case op::add: add_or_sub<false>(); break;
      case op::sub: add_or_sub<true>(); break;
      case op::mul: multiply(); break;
      case op::maximum: extremum(quern::maximum{}); break;
      case op::minimum: extremum(quern::minimum{}); break;
      case op::average_pool: pool<true>(); break;
      case op::max_pool: pool<false>(); break;
      case op::mean: reduction(true); break;
      case op::sum: reduction(false); break;
      case op::reduce_max: extreme_reduction<true>(); break;
      case op::reduce_min: extreme_reduction<false>(); break;
      case op::softmax: softmax(); break;
      case op::logistic: sigmoid(fixed_point::sigmoid_kind::logistic); break;
      case op::tanh: sigmoid(fixed_point::sigmoid_kind::tanh); break;
      case op::relu: relu(0, 3.4e38f); break;
      case op::relu6: relu(0, 6); break;
      case op::relu_n1_to_1: relu(-1, 1); break;
      case op::relu_0_to_1: relu(0, 1); break;
      case op::leaky_relu: leaky_relu(); break;
      case op::prelu: prelu(); break;
      case op::hard_swish: hard_swish(); break;
      case op::gelu: o.o.approximate ? real_function(real_functions::gelu_tanh) : real_function(real_functions::gelu); break;
      case op::exp: exponential(); break;
      case op::rsqrt: one_operand(fixed_point::inverse_sqrt<Rescale>::make(affine(in(0)), affine(out()), type_limits(out()))); break;
      case op::elu: real_function(real_functions::elu); break;
      case op::abs: one_operand(fixed_point::absolute<Rescale>::make(affine(in(0)), affine(out()), type_limits(out()))); break;
      case op::l2_normalization: l2_normalization(); break;
      case op::quantize: quantize(); break;
      case op::dequantize: dequantize(); break;
      case op::concatenation: concatenation(); break;
      case op::pad: case op::padv2: pad_layer(); break;
      case op::mirror_pad: mirror_pad(); break;
      case op::reshape: case op::squeeze: case op::expand_dims: reshape(); break;
      case op::transpose: transpose(); break;
      case op::slice: slice(); break;
      case op::strided_slice: strided_slice(); break;
      case op::split: case op::split_v: split(); break;
      case op::pack: pack_layer(); break;
      case op::unpack: unpack_layer(); break;
      case op::space_to_depth: blocks(true); break;
      case op::depth_to_space: blocks(false); break;
      case op::space_to_batch: batches(true); break;
      case op::batch_to_space: batches(false); break;
      case op::shape: shape_of_input(); break;
      case op::resize_bilinear: resize(true); break;
      case op::resize_nearest: resize(false); break;
      case op::arg_max: arg_max(); break;
      default:
        throw failure(made_.op + " (number " + std::to_string(o.code) + ") is an operator that run_tflite does not have.");
    }
    return std::move(made_);
  }

 private:
  // ---- what the operator has ------------------------------------------------------------------------------------------
  [[noreturn]] void refuse(std::string const& what) const { throw failure(made_.op + " " + what + "."); }
  bool has(std::size_t i) const { return i < o_->inputs.size() && o_->inputs[i] >= 0; }
  tensor const& in(std::size_t i) const {
    if (!has(i)) refuse("lacks its input " + std::to_string(i));
    return m_.tensors[o_->inputs[i]];
  }
  tensor const& out(std::size_t i = 0) const {
    if (i >= o_->outputs.size()) refuse("lacks its output " + std::to_string(i));
    return m_.tensors[o_->outputs[i]];
  }
  tensor const& fixed(std::size_t i) const {
    if (!in(i).constant) refuse("has an input " + std::to_string(i) + " that is computed; run_tflite needs a constant there");
    return in(i);
  }
  /// Where a tensor lies; constants as well.
  template <class T>
  T* at(int index) const {
    return reinterpret_cast<T*>(m_.tensors[index].constant ? m_.tensors[index].data.data() : data_[static_cast<std::size_t>(index)]);
  }
  template <class T>
  T const* source(std::size_t i) const {
    static_cast<void>(in(i));
    return at<T const>(o_->inputs[i]);
  }
  template <class T>
  T* target(std::size_t i = 0) const {
    static_cast<void>(out(i));
    return at<T>(o_->outputs[i]);
  }
  [[noreturn]] void refuse_types() const {
    std::string types;
    for (int const i : o_->inputs) types += (types.empty() ? "" : ", ") + std::string(i < 0 ? "none" : name(m_.tensors[i].type));
    refuse("of " + types + " to " + name(out().type) + " is not supported");
  }
  void same_size(tensor const& a, tensor const& b) const {
    if (a.extents.size() != b.extents.size()) refuse("has an input of " + std::to_string(a.extents.size()) + " elements and an output of " + std::to_string(b.extents.size()));
  }
  void same_shape(tensor const& a, tensor const& b) const {
    if (!(a.extents == b.extents)) refuse("has input and output of different shapes");
  }
  void scaled(tensor const& t) const {
    if (t.scales.empty() || !(t.scales[0] > 0)) refuse("has a tensor (" + t.name + ") without a scale");
  }
  void same_parameters(tensor const& a, tensor const& b) const {
    if (a.scale() != b.scale() || a.zero_point() != b.zero_point()) refuse("has input and output with different scales or zero points");
  }
  fixed_point::affine affine(tensor const& t) const {
    scaled(t);
    return {t.scale(), t.zero_point()};
  }
  fixed_point::limits type_limits(tensor const& t) const {
    return t.type == element::i32 ? fixed_point::limits{-2147483647 - 1, 2147483647} : t.type == element::i16 ? fixed_point::limits{-32768, 32767} : t.type == element::u8 ? fixed_point::limits{0, 255} : fixed_point::limits{-128, 127};
  }
  fixed_point::limits limits() const {
    auto const l = type_limits(out());
    switch (o_->o.activation) {
      case 0: return l;
      case 1: return fixed_point::activation_limits(affine(out()), 0, 3.4e38f, l);
      case 2: return fixed_point::activation_limits(affine(out()), -1, 1, l);
      case 3: return fixed_point::activation_limits(affine(out()), 0, 6, l);
      default: refuse("has the fused activation number " + std::to_string(o_->o.activation) + ", which is not supported");
    }
  }
  template <class T>
  tensor_view<T> image(T* p, tensor const& t) const {
    if (t.extents.rank != 4) refuse("has a tensor (" + t.name + ") of rank " + std::to_string(t.extents.rank) + " where an image (rank 4) is needed");
    return nhwc(p, t.extents[0], t.extents[1], t.extents[2], t.extents[3]);
  }
  std::vector<index_t> numbers(std::size_t i) const {
    tensor const& t = fixed(i);
    std::vector<index_t> r;
    for (index_t k = 0; k < t.extents.size(); ++k)
      r.push_back(t.type == element::i64 ? static_cast<index_t>(reinterpret_cast<std::int64_t const*>(t.data.data())[k])
                  : t.type == element::i32 ? reinterpret_cast<std::int32_t const*>(t.data.data())[k]
                                           : (refuse("has a list of numbers that is neither int32 nor int64"), 0));
    return r;
  }
  int dimension(index_t d, int rank) const {
    index_t const at = d < 0 ? d + rank : d;
    if (at < 0 || at >= rank) refuse("names dimension " + std::to_string(d) + " of a tensor of rank " + std::to_string(rank));
    return static_cast<int>(at);
  }
  quern::padding padding() const { return o_->o.same_padding ? quern::same : quern::valid; }
  conv_options conv_opts() const {
    auto const& o = o_->o;
    return {.stride = {o.stride_h, o.stride_w, 1}, .dilation = {o.dilation_h, o.dilation_w, 1}, .padding = padding()};
  }
  std::string isa_suffix() const { return std::string(" ") + name(active_isa(run_.max_isa)); }

  /// 4-bit constants as one code a byte.
  std::vector<std::int8_t> weights_of(tensor const& t) const {
    index_t const n = t.extents.size();
    std::vector<std::int8_t> w(static_cast<std::size_t>(n));
    if (t.type == element::i4) {
      packed_view<s4, std::uint8_t const> const packed{t.data.data(), n};
      for (index_t i = 0; i < n; ++i) w[static_cast<std::size_t>(i)] = packed.get(i);
    } else if (t.type == element::i8) {
      auto const* p = reinterpret_cast<std::int8_t const*>(t.data.data());
      w.assign(p, p + n);
    } else {
      refuse_types();
    }
    return w;
  }

  /// Everything of a convolution-like output stage: one multiplier a channel, bias, limits.
  struct stage {
    std::vector<parameters> multipliers;
    std::vector<rescale::tflite_s64::parameters> wide;
    std::vector<std::int32_t> bias;
    std::vector<std::int64_t> bias64;
    bool wide_bias = true;  // int16 layers: 64-bit accumulators unless the bias has 32 bits (without one: CONV_2D and FULLY_CONNECTED 32, others 64)
  };
  std::shared_ptr<stage> output_stage(tensor const& x, tensor const& w, std::size_t bias_at, index_t channels, bool float_product = false) const {
    auto s = std::make_shared<stage>();
    scaled(x), scaled(w), scaled(out());
    if (w.scales.size() != 1 && static_cast<index_t>(w.scales.size()) != channels)
      refuse("has " + std::to_string(w.scales.size()) + " weight scales for " + std::to_string(channels) + " channels");
    for (index_t c = 0; c < channels; ++c) {
      float const sw = w.scales[w.scales.size() == 1 ? 0 : static_cast<std::size_t>(c)];
      double const product = float_product && w.scales.size() == 1 ? static_cast<double>(quern::rounded(x.scale() * sw))
                                                                   : static_cast<double>(x.scale()) * static_cast<double>(sw);
      double const scale = product / static_cast<double>(out().scale());
      s->multipliers.push_back(Rescale::from_real(scale));
      if (x.type == element::i16) s->wide.push_back(rescale::tflite_s64::from_real(scale));
    }
    if (has(bias_at)) {
      tensor const& b = fixed(bias_at);
      if (b.extents.size() != channels) refuse("has " + std::to_string(b.extents.size()) + " biases for " + std::to_string(channels) + " channels");
      if (b.type == element::i32) {
        auto const* p = reinterpret_cast<std::int32_t const*>(b.data.data());
        s->bias.assign(p, p + channels);
        s->wide_bias = false;
      } else if (b.type == element::i64 && x.type == element::i16) {
        auto const* p = reinterpret_cast<std::int64_t const*>(b.data.data());
        s->bias64.assign(p, p + channels);
      } else {
        refuse("has a bias of type " + std::string(name(b.type)));
      }
    }
    return s;
  }
  epilogue<Rescale> epilogue_of(stage const& s, tensor const& x) const {
    auto const l = limits();
    epilogue<Rescale> e{};
    e.lhs_zero_point = x.zero_point();
    e.bias = view(s.bias.data(), static_cast<index_t>(s.bias.size()));
    e.rescale = view(s.multipliers.data(), static_cast<index_t>(s.multipliers.size()));
    e.dst_zero_point = out().zero_point();
    e.min = l.min;
    e.max = l.max;
    return e;
  }
  wide_output<> wide_of(stage const& s) const {
    auto const l = limits();
    return {s.bias64.empty() ? nullptr : s.bias64.data(), s.wide.data(), 1, l.min, l.max};
  }
  wide_output<Rescale, std::int32_t> narrow_of(stage const& s) const {
    auto const l = limits();
    return {s.bias.empty() ? nullptr : s.bias.data(), s.multipliers.data(), 1, l.min, l.max};
  }
  void symmetric(tensor const& w) const {
    for (auto const z : w.zero_points)
      if (z != 0) refuse("has weights with a zero point, which TFLite's int8 convolutions do not");
  }

  // ---- convolutions ---------------------------------------------------------------------------------------------------
  void conv() {
    tensor const &x = in(0), &w = fixed(1);
    index_t const channels = w.extents.rank == 4 ? w.extents[0] : 0;
    auto const codes = weights_of(w);
    auto const filter = image(codes.data(), w);
    symmetric(w);
    auto opts = conv_opts();
    if (filter.c < 1 || x.extents.rank != 4 || x.extents[3] % filter.c != 0) refuse("has weights whose channels do not fit its input");
    opts.groups = x.extents[3] / filter.c;
    auto const s = output_stage(x, w, 2, channels);
    if (!has(2)) s->wide_bias = false;
    made_.operations = 2.0 * static_cast<double>(out().extents.size()) * static_cast<double>(filter.h * filter.w * filter.c);
    if (x.type == element::i8 && out().type == element::i8) {
      auto const packed = std::make_shared<packed_conv<std::int8_t>>(pack_conv(filter, opts));
      auto const src = image(source<std::int8_t>(0), x);
      auto const dst = image(target<std::int8_t>(), out());
      auto const e = epilogue_of(*s, x);
      made_.kernel = (filter.h * filter.w == 1 && opts.stride.h == 1 && opts.stride.w == 1 && opts.groups == 1 ? "gemm" : "implicit gemm") + isa_suffix();
      made_.run = [=, run = run_] { conv2d(src, *packed, dst, e, run); static_cast<void>(s); };
    } else if (x.type == element::i16 && out().type == element::i16) {
      auto const packed = std::make_shared<packed_conv16>(pack_conv16(filter, opts));
      auto const src = image(source<std::int16_t>(0), x);
      auto const dst = image(target<std::int16_t>(), out());
      made_.kernel = "16x8" + isa_suffix();
      if (s->wide_bias)
        made_.run = [=, e = wide_of(*s), run = run_] { conv2d_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
      else
        made_.run = [=, e = narrow_of(*s), run = run_] { conv2d_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
    } else {
      refuse_types();
    }
  }

  void depthwise() {
    tensor const &x = in(0), &w = fixed(1);
    auto const codes = weights_of(w);
    auto const filter = image(codes.data(), w);
    symmetric(w);
    auto const s = output_stage(x, w, 2, filter.c);
    made_.operations = 2.0 * static_cast<double>(out().extents.size()) * static_cast<double>(filter.h * filter.w);
    if (x.type == element::i8 && out().type == element::i8) {
      auto const packed = std::make_shared<packed_depthwise<std::int8_t>>(pack_depthwise(filter, conv_opts()));
      auto const src = image(source<std::int8_t>(0), x);
      auto const dst = image(target<std::int8_t>(), out());
      made_.kernel = "depthwise" + isa_suffix();
      made_.run = [=, e = epilogue_of(*s, x), run = run_] { depthwise_conv2d(src, *packed, dst, e, run); static_cast<void>(s); };
    } else if (x.type == element::i16 && out().type == element::i16) {
      auto const packed = std::make_shared<packed_conv16>(pack_depthwise16(filter, conv_opts()));
      auto const src = image(source<std::int16_t>(0), x);
      auto const dst = image(target<std::int16_t>(), out());
      made_.kernel = "depthwise 16x8";
      if (s->wide_bias)
        made_.run = [=, e = wide_of(*s), run = run_] { depthwise_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
      else
        made_.run = [=, e = narrow_of(*s), run = run_] { depthwise_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
    } else {
      refuse_types();
    }
  }

  void transpose_conv() {
    tensor const &w = fixed(1), &x = in(2);
    auto const codes = weights_of(w);
    auto const filter = image(codes.data(), w);
    symmetric(w);
    auto const s = output_stage(x, w, 3, filter.n);
    made_.operations = 2.0 * static_cast<double>(x.extents.size()) * static_cast<double>(filter.h * filter.w * filter.n);
    if (x.type == element::i8 && out().type == element::i8) {
      auto const packed = std::make_shared<packed_conv<std::int8_t>>(pack_transposed_conv(filter, conv_opts()));
      auto const src = image(source<std::int8_t>(2), x);
      auto const dst = image(target<std::int8_t>(), out());
      made_.kernel = "gemm by phases" + isa_suffix();
      made_.run = [=, e = epilogue_of(*s, x), run = run_] { transposed_conv2d(src, *packed, dst, e, run); static_cast<void>(s); };
    } else if (x.type == element::i16 && out().type == element::i16) {
      auto const packed = std::make_shared<packed_conv16>(pack_conv16(filter, conv_opts(), true));
      auto const src = image(source<std::int16_t>(2), x);
      auto const dst = image(target<std::int16_t>(), out());
      made_.kernel = "16x8" + isa_suffix();
      if (s->wide_bias)
        made_.run = [=, e = wide_of(*s), run = run_] { transposed_conv2d_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
      else
        made_.run = [=, e = narrow_of(*s), run = run_] { transposed_conv2d_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
    } else {
      refuse_types();
    }
  }

  void fully_connected() {
    tensor const &x = in(0), &w = fixed(1);
    if (w.extents.rank != 2) refuse("has weights of rank " + std::to_string(w.extents.rank) + "; they must be outputs x inputs");
    index_t const outputs = w.extents[0], depth = w.extents[1];
    if (depth < 1 || x.extents.size() % depth != 0) refuse("has an input that is no multiple of its weights' depth");
    index_t const rows = x.extents.size() / depth;
    if (out().extents.size() != rows * outputs) refuse("has an output of the wrong size");
    auto const codes = weights_of(w);
    auto const s = output_stage(x, w, 2, outputs, true);
    if (!has(2)) s->wide_bias = false;
    made_.operations = 2.0 * static_cast<double>(rows * outputs * depth);
    if (x.type == element::i8 && out().type == element::i8) {
      if (w.zero_points.size() > 1) symmetric(w);
      auto const packed = std::make_shared<packed_matrix<std::int8_t>>(pack(row_major(codes.data(), outputs, depth).transposed()));
      auto e = epilogue_of(*s, x);
      if (w.zero_points.size() == 1) e.rhs_zero_point = w.zero_point();
      auto const src = row_major(source<std::int8_t>(0), rows, depth);
      auto const dst = row_major(target<std::int8_t>(), rows, outputs);
      made_.kernel = "gemm" + isa_suffix();
      made_.run = [=, run = run_] { gemm(src, *packed, dst, e, run); static_cast<void>(s); };
    } else if (x.type == element::i16 && out().type == element::i16) {
      symmetric(w);
      auto const packed = std::make_shared<packed_conv16>(pack_conv16(nhwc(codes.data(), outputs, 1, 1, depth)));
      auto const src = nhwc(source<std::int16_t>(0), 1, 1, rows, depth);
      auto const dst = nhwc(target<std::int16_t>(), 1, 1, rows, outputs);
      made_.kernel = "16x8" + isa_suffix();
      if (s->wide_bias)
        made_.run = [=, e = wide_of(*s), run = run_] { conv2d_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
      else
        made_.run = [=, e = narrow_of(*s), run = run_] { conv2d_16x8(src, *packed, dst, e, run); static_cast<void>(s); };
    } else {
      refuse_types();
    }
  }

  void batch_matmul() {
    tensor const &a = in(0), &b = in(1);
    scaled(a), scaled(b), scaled(out());
    auto const& o = o_->o;
    double const scale = static_cast<double>(quern::rounded(a.scale() * b.scale())) / static_cast<double>(out().scale());
    auto const views = [&](auto* p, tensor const& t, bool adjoint) {
      auto v = nd(p, t.extents);
      if (t.extents.rank < 2) refuse("has an operand of rank " + std::to_string(t.extents.rank) + "; it must have at least 2");
      if (adjoint) {
        int order[shape::max_rank] = {0, 1, 2, 3, 4, 5};
        std::swap(order[t.extents.rank - 1], order[t.extents.rank - 2]);
        v = transposed(v, order);
      }
      return v;
    };
    made_.operations = 2.0 * static_cast<double>(out().extents.size()) * static_cast<double>(a.extents[a.extents.rank - (o.adj_x ? 2 : 1)]);
    made_.kernel = "plain";
    auto const l = type_limits(out());
    if (a.type == element::i8 && b.type == element::i8 && out().type == element::i8)
      made_.run = [=, m = Rescale::from_real(scale), va = views(source<std::int8_t>(0), a, o.adj_x), vb = views(source<std::int8_t>(1), b, o.adj_y),
                   vy = nd(target<std::int8_t>(), out().extents), za = a.zero_point(), zb = b.zero_point(), zy = out().zero_point()] {
        epilogue<Rescale> stages{.rescale = m, .dst_zero_point = zy};
        stages.min = l.min, stages.max = l.max;
        quern::batch_matmul(va, vb, za, zb, vy, stages);
      };
    else if (a.type == element::i16 && b.type == element::i16 && out().type == element::i16)
      made_.run = [=, m = rescale::tflite_s64::from_real(scale), va = views(source<std::int16_t>(0), a, o.adj_x), vb = views(source<std::int16_t>(1), b, o.adj_y),
                   vy = nd(target<std::int16_t>(), out().extents)] {
        quern::batch_matmul(va, vb, 0, 0, vy, [&](std::int64_t acc) { return clamp(rescale::tflite_s64::apply(acc, m), l.min, l.max); });
      };
    else
      refuse_types();
  }

  void svdf() {
    tensor const &x = in(0), &feature = fixed(1), &time = fixed(2);
    if (o_->inputs.size() < 5 || !has(4) || x.type != element::i8 || feature.type != element::i8 || out().type != element::i8) refuse_types();
    tensor const& state = in(4);
    if (x.extents.rank != 2 || feature.extents.rank != 2 || time.extents.rank != 2 || !state.variable) refuse("has tensors of the wrong rank");
    quern::svdf_layer<Rescale> s;
    s.rank = o_->o.rank;
    s.filters = feature.extents[0], s.inputs = feature.extents[1], s.memory = time.extents[1];
    s.batch = x.extents[0];
    if (s.rank < 1 || s.filters % s.rank != 0 || x.extents[1] != s.inputs || time.extents[0] != s.filters || state.extents.size() != s.batch * s.filters * s.memory ||
        out().extents.size() != s.batch * (s.filters / s.rank))
      refuse("has tensors whose sizes do not fit each other");
    scaled(x), scaled(feature), scaled(time), scaled(state), scaled(out());
    s.input_zero_point = x.zero_point(), s.output_zero_point = out().zero_point();
    s.feature_rescale = Rescale::from_real(static_cast<double>(x.scale()) * static_cast<double>(feature.scale()) / static_cast<double>(state.scale()));
    s.time_rescale = Rescale::from_real(static_cast<double>(state.scale()) * static_cast<double>(time.scale()) / static_cast<double>(out().scale()));
    auto const l = limits();
    s.min = l.min, s.max = l.max;
    std::int32_t const* bias = nullptr;
    if (has(3)) {
      if (fixed(3).type != element::i32 || fixed(3).extents.size() != s.filters / s.rank) refuse("has a bias of the wrong type or size");
      bias = reinterpret_cast<std::int32_t const*>(fixed(3).data.data());
    }
    made_.operations = 2.0 * static_cast<double>(s.batch * s.filters * (s.inputs + s.memory));
    made_.kernel = "plain";
    auto const* const f = source<std::int8_t>(1);
    if (state.type == element::i16 && time.type == element::i16)
      made_.run = [=, src = source<std::int8_t>(0), t = source<std::int16_t>(2), memory = at<std::int16_t>(o_->inputs[4]), dst = target<std::int8_t>()] { s(src, f, t, bias, memory, dst); };
    else if (state.type == element::i8 && time.type == element::i8)
      made_.run = [=, src = source<std::int8_t>(0), t = source<std::int8_t>(2), memory = at<std::int8_t>(o_->inputs[4]), dst = target<std::int8_t>()] { s(src, f, t, bias, memory, dst); };
    else
      refuse_types();
  }

  // ---- elementwise ----------------------------------------------------------------------------------------------------
  template <class F>
  void two_operands(F const& f) {
    shape const s = out().extents;
    if (!(broadcast_shape(in(0).extents, in(1).extents) == s)) refuse("has an output that its inputs do not broadcast to");
    made_.operations = static_cast<double>(s.size());
    made_.kernel = "elementwise" + isa_suffix();
    auto const run = [&]<class T>(T) {
      return [=, a = nd(source<T>(0), in(0).extents), b = nd(source<T>(1), in(1).extents), y = nd(target<T>(), s), i = run_.max_isa] { binary(a, b, y, f, i); };
    };
    auto const t = out().type;
    if (in(0).type != t || in(1).type != t) refuse_types();
    if (t == element::i8)
      made_.run = run(std::int8_t{});
    else if (t == element::i16)
      made_.run = run(std::int16_t{});
    else if (t == element::u8)
      made_.run = run(std::uint8_t{});
    else
      refuse_types();
  }
  template <bool Subtract>
  void add_or_sub() {
    if (out().type != element::i8 && out().type != element::i16 && out().type != element::u8) refuse_types();
    two_operands(fixed_point::add<Rescale, Subtract>::make(affine(in(0)), affine(in(1)), affine(out()), limits(), out().type == element::i16 ? 15 : 20, Subtract));
  }
  void multiply() {
    if (out().type != element::i8 && out().type != element::i16 && out().type != element::u8) refuse_types();
    two_operands(fixed_point::mul<Rescale>::make(affine(in(0)), affine(in(1)), affine(out()), limits()));
  }
  template <class F>
  void extremum(F const& f) {
    same_parameters(in(0), out()), same_parameters(in(1), out());
    two_operands(f);
  }
  template <class F>
  void one_operand(F const& f) {
    same_shape(in(0), out());
    made_.operations = static_cast<double>(out().extents.size());
    shape const s = out().extents;
    auto const run = [&]<class T>(T) { return [=, x = nd(source<T>(0), s), y = nd(target<T>(), s), i = run_.max_isa] { unary(x, y, f, i); }; };
    if (in(0).type != out().type) refuse_types();
    made_.kernel = "table" + isa_suffix();
    if (out().type == element::i8)
      made_.run = run(std::int8_t{});
    else if (out().type == element::u8)
      made_.run = run(std::uint8_t{});
    else if (out().type == element::i16)
      made_.kernel = "plain", made_.run = run(std::int16_t{});
    else
      refuse_types();
  }
  void relu(float low, float high) {
    auto const a = affine(in(0)), y = affine(out());
    fixed_point::requantize<Rescale> f{a.zero_point, y.zero_point, Rescale::from_real(static_cast<double>(a.scale / y.scale)),
                                       fixed_point::activation_limits(y, low, high, type_limits(out()))};
    if (a.scale == y.scale && a.zero_point == y.zero_point)
      one_operand(quern::clamped{f.clamped});
    else
      one_operand(f);
  }
  void leaky_relu() { one_operand(fixed_point::leaky_relu<Rescale>::make(affine(in(0)), affine(out()), o_->o.alpha, type_limits(out()))); }
  void prelu() { two_operands(fixed_point::prelu<Rescale>::make(affine(in(0)), affine(in(1)), affine(out()), type_limits(out()))); }
  void hard_swish() {
    if (out().type != element::i8) refuse_types();
    one_operand(fixed_point::hard_swish::make(affine(in(0)), affine(out()), type_limits(out())));
  }
  template <class F>
  void real_function(F const& f) {
    if (in(0).type != element::i8 || out().type != element::i8) refuse_types();
    auto const table = std::make_shared<byte_table<std::int8_t, std::int8_t>>(make_table<std::int8_t, std::int8_t>(affine(in(0)), affine(out()), f));
    one_operand([table](std::int8_t x) { return (*table)(x); });
  }
  void exponential() {
    if (in(0).type != element::i16 || out().type != element::i16) return real_function(real_functions::exp);
    auto const x = affine(in(0)), y = affine(out());
    auto const table = std::make_shared<fixed_point::interpolated_table>(fixed_point::interpolated_table::make(
        x.scale, x.zero_point, y.scale, y.zero_point, [](float v) { return static_cast<float>(exp_of(static_cast<double>(v))); }));
    one_operand([table](std::int16_t v) { return (*table)(v); });
  }
  void sigmoid(fixed_point::sigmoid_kind kind) {
    scaled(in(0));
    if (in(0).type == element::i8) {
      one_operand(fixed_point::sigmoid8<Rescale>::make(in(0).scale(), in(0).zero_point(), kind));
    } else if (in(0).type == element::i16) {
      one_operand(fixed_point::sigmoid16::make(in(0).scale(), kind));
    } else {
      refuse_types();
    }
  }
  void softmax() {
    scaled(in(0));
    same_shape(in(0), out());
    if (in(0).extents.rank < 1 || in(0).extents.dim[in(0).extents.rank - 1] < 1) refuse("has an empty input");
    made_.kernel = "plain";
    made_.operations = static_cast<double>(out().extents.size());
    shape const s = out().extents;
    if (in(0).type == element::i8) {
      auto const f = fixed_point::softmax8<Rescale>::make(in(0).scale(), o_->o.beta);
      if (out().type == element::i8)
        made_.run = [=, x = nd(source<std::int8_t>(0), s), y = nd(target<std::int8_t>(), s)] { by_rows(x, y, f); };
      else if (out().type == element::i16)
        made_.run = [=, x = nd(source<std::int8_t>(0), s), y = nd(target<std::int16_t>(), s)] { by_rows(x, y, f); };
      else
        refuse_types();
    } else if (in(0).type == element::i16 && out().type == element::i16) {
      auto const f = std::make_shared<fixed_point::softmax16<Rescale>>(fixed_point::softmax16<Rescale>::make(in(0).scale(), o_->o.beta));
      made_.run = [=, x = nd(source<std::int16_t>(0), s), y = nd(target<std::int16_t>(), s)] { by_rows(x, y, *f); };
    } else {
      refuse_types();
    }
  }
  void l2_normalization() {
    if (in(0).type != element::i8 || out().type != element::i8) refuse_types();
    same_shape(in(0), out());
    if (in(0).extents.rank < 1 || in(0).extents.dim[in(0).extents.rank - 1] < 1) refuse("has an empty input");
    made_.kernel = "plain";
    made_.operations = 2.0 * static_cast<double>(out().extents.size());
    made_.run = [f = fixed_point::l2_normalize<Rescale>{in(0).zero_point()}, x = nd(source<std::int8_t>(0), in(0).extents), y = nd(target<std::int8_t>(), out().extents)] { by_rows(x, y, f); };
  }

  template <class Src, class Dst>
  void requantize_codes() {
    auto const f = fixed_point::requantize<Rescale>::make(affine(in(0)), affine(out()), type_limits(out()));
    made_.kernel = "requantize";
    made_.run = [=, x = nd(source<Src>(0), in(0).extents), y = nd(target<Dst>(), out().extents), i = run_.max_isa] { unary(x, y, f, i); };
  }
  template <class Dst>
  void quantize_floats() {
    scaled(out());
    made_.kernel = "quantize";
    made_.run = [x = source<float>(0), y = target<Dst>(), n = out().extents.size(), a = affine(out()), l = type_limits(out())] {
      for (index_t i = 0; i < n; ++i) {  // division, ties away, zero point afterwards; NaN becomes the zero point
        float const v = round_to::half_away::to_integral(x[i] / a.scale);
        double const q = v == v ? static_cast<double>(v) + a.zero_point : a.zero_point;
        y[i] = static_cast<Dst>(clamp(q, static_cast<double>(l.min), static_cast<double>(l.max)));
      }
    };
  }
  void quantize() {
    same_shape(in(0), out());
    made_.operations = static_cast<double>(out().extents.size());
    auto const from = in(0).type, to = out().type;
    if (from == element::f32 && to == element::i8) return quantize_floats<std::int8_t>();
    if (from == element::f32 && to == element::u8) return quantize_floats<std::uint8_t>();
    if (from == element::f32 && to == element::i16) return quantize_floats<std::int16_t>();
    if (from == element::i8 && to == element::i8) return requantize_codes<std::int8_t, std::int8_t>();
    if (from == element::i8 && to == element::u8) return requantize_codes<std::int8_t, std::uint8_t>();
    if (from == element::u8 && to == element::i8) return requantize_codes<std::uint8_t, std::int8_t>();
    if (from == element::i8 && to == element::i16) return requantize_codes<std::int8_t, std::int16_t>();
    if (from == element::i16 && to == element::i8) return requantize_codes<std::int16_t, std::int8_t>();
    if (from == element::i16 && to == element::i16) return requantize_codes<std::int16_t, std::int16_t>();
    if (from == element::i8 && to == element::i32) return requantize_codes<std::int8_t, std::int32_t>();
    if (from == element::i16 && to == element::i32) return requantize_codes<std::int16_t, std::int32_t>();
    if (from == element::i32 && to == element::i8) return requantize_codes<std::int32_t, std::int8_t>();
    if (from == element::i32 && to == element::i16) return requantize_codes<std::int32_t, std::int16_t>();
    refuse_types();
  }
  void dequantize() {
    same_shape(in(0), out());
    if (out().type != element::f32) refuse_types();
    made_.operations = static_cast<double>(out().extents.size());
    made_.kernel = "dequantize";
    auto const run = [&]<class T>(T) {
      return [x = source<T>(0), y = target<float>(), n = out().extents.size(), a = affine(in(0))] {
        for (index_t i = 0; i < n; ++i) y[i] = static_cast<float>(static_cast<double>(a.scale) * (x[i] - a.zero_point));
      };
    };
    if (in(0).type == element::i8)
      made_.run = run(std::int8_t{});
    else if (in(0).type == element::u8)
      made_.run = run(std::uint8_t{});
    else if (in(0).type == element::i16)
      made_.run = run(std::int16_t{});
    else
      refuse_types();
  }

  // ---- pools and reductions -------------------------------------------------------------------------------------------
  template <bool Average>
  void pool() {
    auto const& o = o_->o;
    if (in(0).type != out().type) refuse_types();
    pool_options const p{.size = {o.filter_h, o.filter_w, 1}, .stride = {o.stride_h, o.stride_w, 1}, .padding = padding()};
    made_.operations = static_cast<double>(out().extents.size()) * o.filter_h * o.filter_w;
    made_.kernel = "pool" + isa_suffix();
    auto const run = [&]<class T>(T) {
      return [p, src = image(source<T>(0), in(0)), dst = image(target<T>(), out()), l = limits(), i = run_.max_isa] {
        if constexpr (Average)
          average_pool2d(src, p, dst, l, i);
        else
          max_pool2d(src, p, dst, l, i);
      };
    };
    if (out().type == element::i8)
      made_.run = run(std::int8_t{});
    else if (out().type == element::i16)
      made_.run = run(std::int16_t{});
    else if (out().type == element::u8)
      made_.run = run(std::uint8_t{});
    else
      refuse_types();
  }
  void reduction(bool mean) {
    int const rank = in(0).extents.rank;
    unsigned axes = 0;
    for (index_t const d : numbers(1)) axes |= 1u << dimension(d, rank);
    shape const kept = reduced_shape(in(0).extents, axes);
    if (kept.size() != out().extents.size()) refuse("has an output of the wrong size");
    index_t const count = in(0).extents.size() / (kept.size() > 0 ? kept.size() : 1);
    if (count < 1) refuse("has an empty input");
    auto const f = fixed_point::reduction<Rescale>::make(affine(in(0)), affine(out()), count, mean, type_limits(out()));
    made_.operations = static_cast<double>(in(0).extents.size());
    made_.kernel = "plain";
    auto const run = [&]<class T>(T) { return [=, x = nd(source<T>(0), in(0).extents), y = nd(target<T>(), kept)] { reduce(x, axes, y, f); }; };
    if (in(0).type != out().type) refuse_types();
    if (out().type == element::i8)
      made_.run = run(std::int8_t{});
    else if (out().type == element::i16)
      made_.run = run(std::int16_t{});
    else
      refuse_types();
  }

  /// The largest or smallest code over some dimensions.
  template <bool Largest>
  void extreme_reduction() {
    same_parameters(in(0), out());
    unsigned axes = 0;
    for (index_t const d : numbers(1)) axes |= 1u << dimension(d, in(0).extents.rank);
    shape const kept = reduced_shape(in(0).extents, axes);
    if (kept.size() != out().extents.size() || in(0).extents.size() < 1) refuse("has an output of the wrong size");
    made_.operations = static_cast<double>(in(0).extents.size());
    made_.kernel = "plain";
    auto const run = [&]<class T>(T) {
      auto const x = nd(source<T>(0), in(0).extents);
      auto total = nd(target<T>(), kept);
      auto const y = nd(target<T>(), make_shape(kept.size()));
      for (int d = 0; d < kept.rank; ++d)
        if (((axes >> d) & 1) != 0) total.stride[d] = 0;
      total.extents = x.extents;
      return [=] {
        fill(y, Largest ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max());
        index_t position[shape::max_rank] = {};
        for (index_t i = 0, n = x.size(); i < n; ++i) {
          index_t at = 0;
          for (int d = 0; d < x.extents.rank; ++d) at += position[d] * total.stride[d];
          T& best = total.data[at];
          best = Largest ? (x.data[i] > best ? x.data[i] : best) : (x.data[i] < best ? x.data[i] : best);
          for (int d = x.extents.rank - 1; d >= 0 && ++position[d] == x.extents.dim[d]; --d) position[d] = 0;
        }
      };
    };
    if (in(0).type != out().type) refuse_types();
    if (out().type == element::i8)
      made_.run = run(std::int8_t{});
    else if (out().type == element::i16)
      made_.run = run(std::int16_t{});
    else
      refuse_types();
  }

  // ---- moving codes ---------------------------------------------------------------------------------------------------
  /// Runs `f` with the element type as its argument: moves need only its size.
  template <class F>
  void by_size(tensor const& t, F const& f) {
    made_.kernel = "copy";
    if (t.type == element::i4) refuse_types();
    switch (bytes_of(t.type, 1)) {
      case 1: f(std::int8_t{}); break;
      case 2: f(std::int16_t{}); break;
      case 4: f(std::int32_t{}); break;
      default: f(std::int64_t{}); break;
    }
  }
  void reshape() {
    same_size(in(0), out());
    if (in(0).type != out().type) refuse_types();
    made_.kernel = "copy";
    made_.run = [x = source<unsigned char>(0), y = target<unsigned char>(), n = out().bytes()] { __builtin_memcpy(y, x, static_cast<std::size_t>(n)); };
  }
  void concatenation() {
    int const d = dimension(o_->o.axis, out().extents.rank);
    if (o_->o.activation != 0) refuse("has a fused activation");
    std::vector<shape> parts;
    for (std::size_t i = 0; i < o_->inputs.size(); ++i) parts.push_back(in(i).extents);
    if (!(concatenated_shape(parts.data(), static_cast<int>(parts.size()), d) == out().extents)) refuse("has an output of the wrong shape");
    std::vector<std::function<void()>> moves;
    by_size(out(), [&]<class T>(T) {
      index_t first = 0;
      for (std::size_t i = 0; i < parts.size(); first += parts[i++].dim[d]) {
        if (in(i).type != out().type) refuse_types();
        auto const x = nd(source<T>(i), parts[i]);
        auto const y = nd(target<T>(), out().extents);
        if (in(i).scale() == out().scale() && in(i).zero_point() == out().zero_point()) {
          moves.push_back([=] { place(x, d, first, y); });
        } else if constexpr (sizeof(T) <= 2) {
          if (out().type == element::u8) refuse("has uint8 inputs with different scales");
          auto const f = fixed_point::requantize<Rescale>::make(affine(in(i)), affine(out()), type_limits(out()));
          moves.push_back([=, isa_cap = run_.max_isa] { place(x, d, first, y, f, isa_cap); });
        } else {
          refuse_types();
        }
      }
    });
    made_.run = [moves] {
      for (auto const& move : moves) move();
    };
  }
  void pad_layer() {
    auto const amounts = numbers(1);
    int const rank = in(0).extents.rank;
    if (static_cast<int>(amounts.size()) != 2 * rank || out().extents.rank != rank) refuse("has paddings of the wrong shape");
    if (in(0).type != out().type) refuse_types();
    std::vector<index_t> before;
    for (int d = 0; d < rank; ++d) {
      before.push_back(amounts[2 * d]);
      if (amounts[2 * d] < 0 || amounts[2 * d + 1] < 0 || in(0).extents[d] + amounts[2 * d] + amounts[2 * d + 1] != out().extents[d]) refuse("has an output that does not fit its paddings");
    }
    by_size(out(), [&]<class T>(T) {
      T value = static_cast<T>(out().zero_point());
      if (has(2)) {
        if (fixed(2).type != out().type || fixed(2).extents.size() != 1) refuse("has a padding value of another type");
        __builtin_memcpy(&value, fixed(2).data.data(), sizeof(T));
      }
      made_.run = [=, x = nd(source<T>(0), in(0).extents), y = nd(target<T>(), out().extents)] { pad_tensor(x, before.data(), value, y); };
    });
  }
  void mirror_pad() {
    auto const amounts = numbers(1);
    int const rank = in(0).extents.rank;
    index_t const border = o_->o.reflect ? 1 : 0;
    if (static_cast<int>(amounts.size()) != 2 * rank || out().extents.rank != rank || in(0).type != out().type) refuse("has paddings of the wrong shape");
    std::vector<index_t> map;  // destination position to source position, dimension after dimension
    for (int d = 0; d < rank; ++d) {
      index_t const n = in(0).extents[d], before = amounts[2 * d], after = amounts[2 * d + 1];
      if (before < 0 || after < 0 || before > n - border || after > n - border || n + before + after != out().extents[d]) refuse("has an output that does not fit its paddings");
      for (index_t i = -before; i < n + after; ++i) map.push_back(i < 0 ? -i - 1 + border : i >= n ? 2 * n - 1 - border - i : i);
    }
    by_size(out(), [&]<class T>(T) {
      made_.run = [=, x = nd(source<T>(0), in(0).extents), y = nd(target<T>(), out().extents)] {
        index_t position[shape::max_rank] = {};
        for (index_t i = 0, n = y.size(); i < n; ++i) {
          index_t offset = 0, start = 0;
          for (int d = 0; d < rank; start += y.extents.dim[d++]) offset += map[static_cast<std::size_t>(start + position[d])] * x.stride[d];
          y.data[i] = x.data[offset];
          for (int d = rank - 1; d >= 0 && ++position[d] == y.extents.dim[d]; --d) position[d] = 0;
        }
      };
    });
  }
  template <class View>
  void copy_view(View const& make) {
    if (in(0).type != out().type) refuse_types();
    by_size(out(), [&]<class T>(T) {
      auto v = make(nd(source<T>(0), in(0).extents));
      if (v.size() != out().extents.size()) refuse("has an output of the wrong size");
      made_.run = [=, y = nd(target<T>(), v.extents)] { copy(v, y); };
    });
  }
  void transpose() {
    std::vector<int> order;
    for (index_t const d : numbers(1)) order.push_back(dimension(d, in(0).extents.rank));
    if (static_cast<int>(order.size()) != in(0).extents.rank) refuse("has a permutation of the wrong length");
    copy_view([&](auto v) { return transposed(v, order.data()); });
  }
  void slice() {
    auto const begin = numbers(1), size = numbers(2);
    if (static_cast<int>(begin.size()) != in(0).extents.rank || size.size() != begin.size()) refuse("has positions of the wrong length");
    copy_view([&](auto v) {
      for (int d = 0; d < v.extents.rank; ++d) {
        index_t const count = size[d] < 0 ? v.extents.dim[d] - begin[d] : size[d];
        v = sliced(v, d, begin[d], count);
      }
      return v;
    });
  }
  void strided_slice() {
    auto const begin = numbers(1), end = numbers(2), step = numbers(3);
    auto const& o = o_->o;
    if (o.ellipsis_mask != 0 || o.new_axis_mask != 0) refuse("has an ellipsis or a new axis");
    if (static_cast<int>(begin.size()) > in(0).extents.rank || end.size() != begin.size() || step.size() != begin.size()) refuse("has positions of the wrong length");
    copy_view([&](auto v) {
      for (int d = 0; d < static_cast<int>(begin.size()); ++d) {
        index_t const n = v.extents.dim[d], s = step[d];
        if (s == 0) refuse("has a step of 0");
        auto const place_of = [&](index_t p) { return p < 0 ? p + n : p; };
        index_t first = ((o.begin_mask >> d) & 1) != 0 ? (s > 0 ? 0 : n - 1) : clamp<index_t>(place_of(begin[d]), s > 0 ? 0 : -1, s > 0 ? n : n - 1);
        index_t last = ((o.end_mask >> d) & 1) != 0 ? (s > 0 ? n : -1) : clamp<index_t>(place_of(end[d]), s > 0 ? 0 : -1, s > 0 ? n : n - 1);
        if (((o.shrink_axis_mask >> d) & 1) != 0) {
          first = place_of(begin[d]);
          if (first < 0 || first >= n) refuse("takes position " + std::to_string(begin[d]) + " of " + std::to_string(n));
          last = first + (s > 0 ? 1 : -1);
        }
        index_t const count = s > 0 ? (last > first ? (last - first + s - 1) / s : 0) : (first > last ? (first - last - s - 1) / -s : 0);
        v = sliced(v, d, first, count, s);
      }
      return v;
    });
  }
  void split() {
    bool const by_sizes = static_cast<op>(o_->code) == op::split_v;
    std::size_t const data_at = by_sizes ? 0 : 1, axis_at = by_sizes ? 2 : 0;
    tensor const& x = in(data_at);
    auto const axis = numbers(axis_at);
    if (axis.size() != 1) refuse("has no axis");
    int const d = dimension(axis[0], x.extents.rank);
    std::vector<std::function<void()>> moves;
    by_size(x, [&]<class T>(T) {
      index_t first = 0;
      for (std::size_t i = 0; i < o_->outputs.size(); ++i) {
        if (out(i).type != x.type || out(i).extents.rank != x.extents.rank) refuse_types();
        auto const part = sliced(nd(source<T>(data_at), x.extents), d, first, out(i).extents[d]);
        if (!(part.extents == out(i).extents)) refuse("has an output of the wrong shape");
        moves.push_back([=, y = nd(target<T>(i), out(i).extents)] { copy(part, y); });
        first += out(i).extents[d];
      }
    });
    made_.run = [moves] {
      for (auto const& move : moves) move();
    };
  }
  void pack_layer() {
    int const d = dimension(o_->o.axis, out().extents.rank);
    std::vector<std::function<void()>> moves;
    by_size(out(), [&]<class T>(T) {
      for (std::size_t i = 0; i < o_->inputs.size(); ++i) {
        auto y = sliced(nd(target<T>(), out().extents), d, static_cast<index_t>(i), 1);
        if (in(i).type != out().type || in(i).extents.size() != y.size()) refuse("has inputs that do not fit its output");
        moves.push_back([=, x = nd(source<T>(i), y.extents)] { copy(x, y); });
      }
    });
    made_.run = [moves] {
      for (auto const& move : moves) move();
    };
  }
  void unpack_layer() {
    int const d = dimension(o_->o.axis, in(0).extents.rank);
    std::vector<std::function<void()>> moves;
    by_size(in(0), [&]<class T>(T) {
      for (std::size_t i = 0; i < o_->outputs.size(); ++i) {
        auto const x = sliced(nd(source<T>(0), in(0).extents), d, static_cast<index_t>(i), 1);
        if (in(0).type != out(i).type || out(i).extents.size() != x.size()) refuse("has outputs that do not fit its input");
        moves.push_back([=, y = nd(target<T>(i), x.extents)] { copy(x, y); });
      }
    });
    made_.run = [moves] {
      for (auto const& move : moves) move();
    };
  }
  void blocks(bool to_depth) {
    if (in(0).type != out().type) refuse_types();
    by_size(out(), [&]<class T>(T) {
      made_.run = [to_depth, x = image(source<T>(0), in(0)), y = image(target<T>(), out()), block = o_->o.block] {
        to_depth ? space_to_depth(x, block, y) : depth_to_space(x, block, y);
      };
    });
  }
  /// SPACE_TO_BATCH_ND, and BATCH_TO_SPACE_ND, its inverse, of images: batch (dy * block_w + dx) * n + b holds every block-th pixel of
  /// image b, padded (cropped on the way back), from row dy and column dx on.
  void batches(bool to_batch) {
    auto const block = numbers(1), border = numbers(2);
    if (in(0).type != out().type) refuse_types();
    if (block.size() != 2 || border.size() != 4) refuse("has blocks of other than two dimensions");
    if (block[0] < 1 || block[1] < 1 || border[0] < 0 || border[1] < 0 || border[2] < 0 || border[3] < 0) refuse("has a block or a border that is not positive");
    by_size(out(), [&]<class T>(T) {
      auto const x = image(source<T>(0), in(0));
      auto const y = image(target<T>(), out());
      auto const big = [&] { return to_batch ? extent{x.h, x.w, x.n} : extent{y.h, y.w, y.n}; }();
      auto const small = [&] { return to_batch ? extent{y.h, y.w, y.n} : extent{x.h, x.w, x.n}; }();
      if (big.h + border[0] + border[1] != small.h * block[0] || big.w + border[2] + border[3] != small.w * block[1] || big.d * block[0] * block[1] != small.d || x.c != y.c)
        refuse("has an output that does not fit its blocks");
      made_.run = [=, top = border[0], left = border[2], bh = block[0], bw = block[1], zero = static_cast<T>(out().zero_point()), bytes = static_cast<std::size_t>(x.c) * sizeof(T)] {
        for (index_t b = 0; b < small.d; ++b)
          for (index_t i = 0; i < small.h; ++i)
            for (index_t j = 0; j < small.w; ++j) {
              index_t const phase = b / big.d, n = b % big.d, h = i * bh + phase / bw - top, w = j * bw + phase % bw - left;
              bool const inside = h >= 0 && h < big.h && w >= 0 && w < big.w;
              if (to_batch && inside)
                __builtin_memcpy(&y(b, i, j, 0), &x(n, h, w, 0), bytes);
              else if (to_batch)
                for (index_t c = 0; c < y.c; ++c) y(b, i, j, c) = zero;
              else if (inside)
                __builtin_memcpy(&y(n, h, w, 0), &x(b, i, j, 0), bytes);
            }
      };
    });
  }
  void shape_of_input() {
    if (out().type != element::i32 || out().extents.size() != in(0).extents.rank) refuse_types();
    made_.kernel = "copy";
    made_.run = [s = in(0).extents, y = target<std::int32_t>()] {
      for (int d = 0; d < s.rank; ++d) y[d] = static_cast<std::int32_t>(s.dim[d]);
    };
  }
  void resize(bool bilinear) {
    resize_options const r{o_->o.align_corners, o_->o.half_pixel_centers};
    if (in(0).type != out().type) refuse_types();
    auto const run = [&]<class T>(T) {
      return [=, x = image(source<T>(0), in(0)), y = image(target<T>(), out()), i = run_.max_isa] { bilinear ? resize_bilinear(x, y, r, i) : resize_nearest(x, y, r); };
    };
    made_.operations = static_cast<double>(out().extents.size()) * (bilinear ? 8 : 0);
    made_.kernel = "plain";
    if (out().type == element::i8)
      made_.run = run(std::int8_t{});
    else if (out().type == element::u8)
      made_.run = run(std::uint8_t{});
    else if (out().type == element::i16)
      made_.run = run(std::int16_t{});
    else
      refuse_types();
  }
  void arg_max() {
    auto const axis = numbers(1);
    if (axis.size() != 1) refuse("has no axis");
    shape const s = in(0).extents;
    int const d = dimension(axis[0], s.rank);
    index_t inner = 1;  // elements from one position along the axis to the next
    for (int k = d + 1; k < s.rank; ++k) inner *= s.dim[k];
    index_t const n = s.dim[d], rows = n > 0 ? s.size() / n : 0;
    if (n < 1 || out().extents.size() != rows) refuse("has an output of the wrong size");
    made_.kernel = "plain";
    auto const run = [&]<class T, class Index>(T, Index) {
      return [=, x = source<T>(0), y = target<Index>()] {
        for (index_t r = 0; r < rows; ++r) {
          T const* const line = x + r / inner * inner * n + r % inner;
          index_t best = 0;
          for (index_t i = 1; i < n; ++i)
            if (line[i * inner] > line[best * inner]) best = i;
          y[r] = static_cast<Index>(best);
        }
      };
    };
    auto const pick = [&]<class T>(T t) {
      if (out().type == element::i32)
        made_.run = run(t, std::int32_t{});
      else if (out().type == element::i64)
        made_.run = run(t, std::int64_t{});
      else
        refuse_types();
    };
    if (in(0).type == element::i8)
      pick(std::int8_t{});
    else if (in(0).type == element::i16)
      pick(std::int16_t{});
    else if (in(0).type == element::u8)
      pick(std::uint8_t{});
    else
      refuse_types();
  }

  model& m_;
  std::vector<unsigned char*> const& data_;
  gemm_options run_;
  operation const* o_ = nullptr;
  layer made_;
};

}  // namespace run_tflite
