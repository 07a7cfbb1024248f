// model.hpp — a .tflite file as plain data: tensors, operators, options. Knows nothing of how they are run.
#pragma once

#include <quern/core/buffer.hpp>
#include <quern/core/shape.hpp>

#include <stdexcept>
#include <string>
#include <vector>

namespace run_tflite {

/// The file, an input or a model that cannot be run; what() is a sentence for the user.
struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Numbers as in the file.
enum class element : signed char { f32 = 0, i32 = 2, u8 = 3, i64 = 4, boolean = 6, i16 = 7, i8 = 9, i4 = 17 };
char const* name(element e);
quern::index_t bytes_of(element e, quern::index_t count);

struct tensor {
  std::string name;
  quern::shape extents;
  element type = element::f32;
  std::vector<float> scales;             // one, one a channel along `axis`, or none
  std::vector<std::int64_t> zero_points;
  int axis = 0;
  bool variable = false;                 // state that survives between runs
  bool constant = false;
  quern::buffer<unsigned char> data;     // constants: 64-byte aligned
  quern::index_t bytes() const { return bytes_of(type, extents.size()); }
  float scale() const { return scales.empty() ? 0.0f : scales[0]; }
  std::int32_t zero_point() const { return zero_points.empty() ? 0 : static_cast<std::int32_t>(zero_points[0]); }
};

/// The operators that run_tflite knows, with their numbers in the file.
enum class op : int {
  add = 0, average_pool = 1, concatenation = 2, conv = 3, depthwise_conv = 4, depth_to_space = 5, dequantize = 6,
  fully_connected = 9, l2_normalization = 11, logistic = 14, max_pool = 17, mul = 18, relu = 19, relu_n1_to_1 = 20, relu6 = 21,
  reshape = 22, resize_bilinear = 23, softmax = 25, space_to_depth = 26, svdf = 27, tanh = 28, pad = 34, batch_to_space = 37, space_to_batch = 38, transpose = 39, mean = 40,
  sub = 41, squeeze = 43, strided_slice = 45, exp = 47, split = 49, prelu = 54, maximum = 55, arg_max = 56, minimum = 57, padv2 = 60,
  slice = 65, transpose_conv = 67, expand_dims = 70, sum = 74, rsqrt = 76, shape = 77, reduce_max = 82, pack = 83, unpack = 88, reduce_min = 89, resize_nearest = 97,
  leaky_relu = 98, mirror_pad = 100, abs = 101, split_v = 102, elu = 111, quantize = 114, hard_swish = 117, batch_matmul = 126,
  conv_3d = 132, gelu = 150, relu_0_to_1 = 152
};
/// "CONV_2D"; also of operators that run_tflite does not run. "operator 77" for numbers it has no name for.
std::string operator_name(int code);

/// Every option that any operator has; those of others keep these values.
struct options {
  bool same_padding = true;
  int stride_d = 1, stride_h = 1, stride_w = 1, dilation_d = 1, dilation_h = 1, dilation_w = 1, filter_h = 1, filter_w = 1;
  int activation = 0;                    // 0 none, 1 ReLU, 2 -1..1, 3 ReLU6
  float beta = 1, alpha = 0;
  int axis = 0, block = 1, count = 0, rank = 1;
  bool keep_dims = false, align_corners = false, half_pixel_centers = false, adj_x = false, adj_y = false, approximate = false;
  bool pot_scale_int16 = true, reflect = true;
  int begin_mask = 0, end_mask = 0, ellipsis_mask = 0, new_axis_mask = 0, shrink_axis_mask = 0;
};

struct operation {
  int code = 0;
  std::vector<int> inputs, outputs;      // indices of tensors; -1: an optional input that is not there
  options o;
};

struct model {
  std::string description;
  std::vector<tensor> tensors;
  std::vector<operation> operations;
  std::vector<int> inputs, outputs;
};

/// Reads a file's bytes. Every offset is verified before it is followed, every index and size before it is used.
/// @throws failure: not a TensorFlow Lite file, truncated, damaged, or with something that run_tflite does not read.
model read_model(unsigned char const* bytes, std::size_t size);

}  // namespace run_tflite
