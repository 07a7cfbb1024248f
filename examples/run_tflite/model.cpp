#include "model.hpp"

#include "schema_generated.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace run_tflite {

namespace {

using quern::index_t;

// Larger models than the largest that runs on a CPU in reasonable time are taken for damage.
constexpr std::int64_t most_elements = std::int64_t{1} << 31, most_bytes = std::int64_t{1} << 32;

[[noreturn]] void damaged(std::string const& what) { throw failure("the model is damaged: " + what + "."); }

template <class V>
std::vector<int> indices(V const* list, std::size_t limit, bool optional, std::string const& what) {
  std::vector<int> r;
  if (list == nullptr) return r;
  for (std::int32_t const i : *list) {
    if (i < (optional ? -1 : 0) || (i >= 0 && static_cast<std::size_t>(i) >= limit))
      damaged(what + " names tensor " + std::to_string(i) + ", but there are " + std::to_string(limit));
    r.push_back(i);
  }
  return r;
}

// The verifier looks at where a vector's length lies, not its elements: those of a damaged file may lie between two multiples of 8.
std::vector<std::int64_t> int64_values(flatbuffers::Vector<std::int64_t> const& list) {
  std::vector<std::int64_t> r(list.size());
  if (!r.empty()) std::memcpy(r.data(), list.Data(), r.size() * sizeof(std::int64_t));
  for (auto& v : r) v = flatbuffers::EndianScalar(v);
  return r;
}

struct names_of_operators {
  int code;
  char const* name;
};
constexpr names_of_operators known_names[] = {
    {0, "ADD"}, {1, "AVERAGE_POOL_2D"}, {2, "CONCATENATION"}, {3, "CONV_2D"}, {4, "DEPTHWISE_CONV_2D"}, {5, "DEPTH_TO_SPACE"},
    {6, "DEQUANTIZE"}, {7, "EMBEDDING_LOOKUP"}, {8, "FLOOR"}, {9, "FULLY_CONNECTED"}, {10, "HASHTABLE_LOOKUP"}, {11, "L2_NORMALIZATION"},
    {12, "L2_POOL_2D"}, {13, "LOCAL_RESPONSE_NORMALIZATION"}, {14, "LOGISTIC"}, {15, "LSH_PROJECTION"}, {16, "LSTM"}, {17, "MAX_POOL_2D"},
    {18, "MUL"}, {19, "RELU"}, {20, "RELU_N1_TO_1"}, {21, "RELU6"}, {22, "RESHAPE"}, {23, "RESIZE_BILINEAR"}, {24, "RNN"}, {25, "SOFTMAX"},
    {26, "SPACE_TO_DEPTH"}, {27, "SVDF"}, {28, "TANH"}, {32, "CUSTOM"}, {34, "PAD"}, {36, "GATHER"}, {37, "BATCH_TO_SPACE_ND"},
    {38, "SPACE_TO_BATCH_ND"}, {39, "TRANSPOSE"}, {40, "MEAN"}, {41, "SUB"}, {42, "DIV"}, {43, "SQUEEZE"},
    {44, "UNIDIRECTIONAL_SEQUENCE_LSTM"}, {45, "STRIDED_SLICE"}, {47, "EXP"}, {48, "TOPK_V2"}, {49, "SPLIT"}, {50, "LOG_SOFTMAX"},
    {53, "CAST"}, {54, "PRELU"}, {55, "MAXIMUM"}, {56, "ARG_MAX"}, {57, "MINIMUM"}, {58, "LESS"}, {59, "NEG"}, {60, "PADV2"},
    {61, "GREATER"}, {64, "SELECT"}, {65, "SLICE"}, {66, "SIN"}, {67, "TRANSPOSE_CONV"}, {69, "TILE"}, {70, "EXPAND_DIMS"}, {73, "LOG"},
    {74, "SUM"}, {75, "SQRT"}, {76, "RSQRT"}, {77, "SHAPE"}, {78, "POW"}, {79, "ARG_MIN"}, {82, "REDUCE_MAX"}, {83, "PACK"},
    {85, "ONE_HOT"}, {88, "UNPACK"}, {89, "REDUCE_MIN"}, {92, "SQUARE"}, {94, "FILL"}, {97, "RESIZE_NEAREST_NEIGHBOR"},
    {98, "LEAKY_RELU"}, {99, "SQUARED_DIFFERENCE"}, {100, "MIRROR_PAD"}, {101, "ABS"}, {102, "SPLIT_V"}, {104, "CEIL"}, {106, "ADD_N"},
    {107, "GATHER_ND"}, {108, "COS"}, {111, "ELU"}, {114, "QUANTIZE"}, {116, "ROUND"}, {117, "HARD_SWISH"}, {118, "IF"}, {119, "WHILE"},
    {126, "BATCH_MATMUL"}, {128, "CUMSUM"}, {129, "CALL_ONCE"}, {130, "BROADCAST_TO"}, {132, "CONV_3D"}, {142, "VAR_HANDLE"},
    {143, "READ_VARIABLE"}, {144, "ASSIGN_VARIABLE"}, {145, "BROADCAST_ARGS"}, {150, "GELU"}, {152, "RELU_0_TO_1"}};

options read_options(file::Operator const& from) {
  options o;
  auto const window = [&](auto const* t) {
    o.same_padding = t->padding() == 0;
    o.stride_h = t->stride_h();
    o.stride_w = t->stride_w();
    o.activation = t->activation();
  };
  switch (from.options_type()) {
    case file::Options_ConvOptions:
      if (auto const* t = from.options_as_ConvOptions()) window(t), o.dilation_h = t->dilation_h(), o.dilation_w = t->dilation_w();
      break;
    case file::Options_DepthwiseOptions:
      if (auto const* t = from.options_as_DepthwiseOptions()) window(t), o.dilation_h = t->dilation_h(), o.dilation_w = t->dilation_w();
      break;
    case file::Options_Conv3DOptions:
      if (auto const* t = from.options_as_Conv3DOptions()) {
        window(t);
        o.stride_d = t->stride_d();
        o.dilation_d = t->dilation_d(), o.dilation_h = t->dilation_h(), o.dilation_w = t->dilation_w();
      }
      break;
    case file::Options_PoolOptions:
      if (auto const* t = from.options_as_PoolOptions()) window(t), o.filter_h = t->filter_h(), o.filter_w = t->filter_w();
      break;
    case file::Options_TransposeConvOptions:
      if (auto const* t = from.options_as_TransposeConvOptions()) window(t);
      break;
    case file::Options_SvdfOptions:
      if (auto const* t = from.options_as_SvdfOptions()) o.rank = t->rank(), o.activation = t->activation();
      break;
    case file::Options_FullyConnectedOptions:
      if (auto const* t = from.options_as_FullyConnectedOptions()) {
        o.activation = t->activation();
        if (t->weights_format() != 0) throw failure("FULLY_CONNECTED has shuffled weights, which run_tflite does not read.");
      }
      break;
    case file::Options_SoftmaxOptions:
      if (auto const* t = from.options_as_SoftmaxOptions()) o.beta = t->beta();
      break;
    case file::Options_ConcatenationOptions:
      if (auto const* t = from.options_as_ConcatenationOptions()) o.axis = t->axis(), o.activation = t->activation();
      break;
    case file::Options_AddOptions:
      if (auto const* t = from.options_as_AddOptions()) o.activation = t->activation(), o.pot_scale_int16 = t->pot_scale_int16();
      break;
    case file::Options_Sub:
      if (auto const* t = from.options_as_Sub()) o.activation = t->activation(), o.pot_scale_int16 = t->pot_scale_int16();
      break;
    case file::Options_Mul:
      if (auto const* t = from.options_as_Mul()) o.activation = t->activation();
      break;
    case file::Options_ResizeBilinearOptions:
      if (auto const* t = from.options_as_ResizeBilinearOptions()) o.align_corners = t->align_corners(), o.half_pixel_centers = t->half_pixel_centers();
      break;
    case file::Options_ResizeNearestOptions:
      if (auto const* t = from.options_as_ResizeNearestOptions()) o.align_corners = t->align_corners(), o.half_pixel_centers = t->half_pixel_centers();
      break;
    case file::Options_SpaceToDepth:
      if (auto const* t = from.options_as_SpaceToDepth()) o.block = t->block_size();
      break;
    case file::Options_DepthToSpace:
      if (auto const* t = from.options_as_DepthToSpace()) o.block = t->block_size();
      break;
    case file::Options_ReducerOptions:
      if (auto const* t = from.options_as_ReducerOptions()) o.keep_dims = t->keep_dims();
      break;
    case file::Options_StridedSliceOptions:
      if (auto const* t = from.options_as_StridedSliceOptions()) {
        o.begin_mask = t->begin_mask(), o.end_mask = t->end_mask(), o.ellipsis_mask = t->ellipsis_mask();
        o.new_axis_mask = t->new_axis_mask(), o.shrink_axis_mask = t->shrink_axis_mask();
        if (t->offset()) throw failure("STRIDED_SLICE has ends that count from its begins, which run_tflite does not know.");
      }
      break;
    case file::Options_SplitOptions:
      if (auto const* t = from.options_as_SplitOptions()) o.count = t->num_splits();
      break;
    case file::Options_PackOptions:
      if (auto const* t = from.options_as_PackOptions()) o.axis = t->axis(), o.count = t->count();
      break;
    case file::Options_UnpackOptions:
      if (auto const* t = from.options_as_UnpackOptions()) o.axis = t->axis(), o.count = t->count();
      break;
    case file::Options_LeakyReluOptions:
      if (auto const* t = from.options_as_LeakyReluOptions()) o.alpha = t->alpha();
      break;
    case file::Options_MirrorPadOptions:
      if (auto const* t = from.options_as_MirrorPadOptions()) o.reflect = t->mode() == 0;
      break;
    case file::Options_BatchMatMulOptions:
      if (auto const* t = from.options_as_BatchMatMulOptions()) o.adj_x = t->adj_x(), o.adj_y = t->adj_y();
      break;
    case file::Options_GeluOptions:
      if (auto const* t = from.options_as_GeluOptions()) o.approximate = t->approximate();
      break;
    default: break;
  }
  if (!std::isfinite(o.beta) || !std::isfinite(o.alpha)) damaged("an option is no finite number");
  return o;
}

tensor read_tensor(file::Tensor const& from, file::Model const& m, std::string const& which) {
  tensor t;
  if (from.name() != nullptr) t.name = from.name()->str();
  t.variable = from.is_variable();
  t.type = static_cast<element>(from.type());
  switch (t.type) {
    case element::f32: case element::i32: case element::u8: case element::i64: case element::boolean: case element::i16: case element::i8:
    case element::i4: break;
    default: throw failure(which + " (" + t.name + ") has type number " + std::to_string(from.type()) + ", which run_tflite does not know.");
  }
  std::int64_t elements = 1;
  if (from.shape() != nullptr) {
    if (from.shape()->size() > quern::shape::max_rank)
      throw failure(which + " (" + t.name + ") has " + std::to_string(from.shape()->size()) + " dimensions; run_tflite knows up to six.");
    for (std::int32_t const d : *from.shape()) {
      if (d < 0) damaged(which + " has a dimension of size " + std::to_string(d));
      t.extents.dim[t.extents.rank++] = d;
      elements *= d;
      if (elements > most_elements) damaged(which + " would have more than 2^31 elements");
    }
  }
  if (auto const* q = from.quantization()) {
    if (q->scale() != nullptr) t.scales.assign(q->scale()->begin(), q->scale()->end());
    if (q->zero_point() != nullptr) t.zero_points = int64_values(*q->zero_point());
    t.axis = q->axis();
    if (t.zero_points.size() > 1 && t.zero_points.size() != t.scales.size())
      damaged(which + " has " + std::to_string(t.scales.size()) + " scales, but " + std::to_string(t.zero_points.size()) + " zero points");
    for (float const s : t.scales)
      if (!std::isfinite(s) || s < 0) damaged(which + " has a scale that is negative, infinite or NaN");
    std::int64_t const low = t.type == element::u8 ? 0 : t.type == element::i8 ? -128 : -32768, high = t.type == element::u8 ? 255 : t.type == element::i8 ? 127 : 32767;
    for (std::int64_t const z : t.zero_points)
      if (z < low || z > high) damaged(which + " has the zero point " + std::to_string(z) + ", outside of its type");
  }
  if (m.buffers() == nullptr || from.buffer() >= m.buffers()->size())
    damaged(which + " lies in buffer " + std::to_string(from.buffer()) + ", which does not exist");
  file::Buffer const* const buffer = m.buffers()->Get(from.buffer());
  if (buffer != nullptr && buffer->offset() > 1) throw failure("the weights lie behind the model (a file above 2 GB), which run_tflite does not read.");
  if (buffer != nullptr && buffer->data() != nullptr && buffer->data()->size() > 0) {
    index_t const stored = buffer->data()->size();
    if (stored != t.bytes())
      damaged(which + " (" + t.name + ") needs " + std::to_string(t.bytes()) + " bytes, its buffer has " + std::to_string(stored));
    t.constant = true;
    t.data = quern::buffer<unsigned char>(stored);
    std::copy(buffer->data()->begin(), buffer->data()->end(), t.data.begin());
  }
  return t;
}

}  // namespace

char const* name(element e) {
  switch (e) {
    case element::f32: return "float32";
    case element::i32: return "int32";
    case element::u8: return "uint8";
    case element::i64: return "int64";
    case element::boolean: return "bool";
    case element::i16: return "int16";
    case element::i8: return "int8";
    case element::i4: return "int4";
  }
  return "unknown";
}

index_t bytes_of(element e, index_t count) {
  switch (e) {
    case element::f32: case element::i32: return 4 * count;
    case element::i64: return 8 * count;
    case element::i16: return 2 * count;
    case element::i4: return (count + 1) / 2;
    default: return count;
  }
}

std::string operator_name(int code) {
  for (auto const& k : known_names)
    if (k.code == code) return k.name;
  return "operator " + std::to_string(code);
}

model read_model(unsigned char const* bytes, std::size_t size) {
  if (size < 16) throw failure("the model has " + std::to_string(size) + " bytes, too few for a TensorFlow Lite file.");
  // FlatBuffers reads numbers in place: on an address that is aligned as in the file.
  quern::buffer<unsigned char> aligned(static_cast<index_t>(size));
  std::copy(bytes, bytes + size, aligned.begin());
  if (!file::ModelBufferHasIdentifier(aligned.data())) throw failure("this is not a TensorFlow Lite model: the identifier TFL3 is missing.");
  flatbuffers::Verifier verifier(aligned.data(), size, 64, 1000000);
  if (!file::VerifyModelBuffer(verifier)) throw failure("the model is damaged or cut off: its tables do not lie inside of the file.");
  file::Model const& from = *file::GetModel(aligned.data());
  if (from.version() != 3) throw failure("the model has format version " + std::to_string(from.version()) + "; run_tflite reads version 3.");
  if (from.subgraphs() == nullptr || from.subgraphs()->size() == 0 || from.subgraphs()->Get(0) == nullptr) damaged("it has no graph");
  if (from.subgraphs()->size() > 1) throw failure("the model has " + std::to_string(from.subgraphs()->size()) + " graphs (control flow); run_tflite runs models of one.");
  file::Subgraph const& graph = *from.subgraphs()->Get(0);
  if (graph.tensors() == nullptr || graph.operators() == nullptr || from.operator_codes() == nullptr) damaged("its graph has no tensors or operators");

  model m;
  if (from.description() != nullptr) m.description = from.description()->str();
  std::int64_t total = 0;
  for (flatbuffers::uoffset_t i = 0; i < graph.tensors()->size(); ++i) {
    m.tensors.push_back(read_tensor(*graph.tensors()->Get(i), from, "tensor " + std::to_string(i)));
    total += m.tensors.back().bytes();
    if (total > most_bytes) damaged("its tensors would need more than 4 GB");
  }
  std::size_t const count = m.tensors.size();
  m.inputs = indices(graph.inputs(), count, false, "the list of inputs");
  m.outputs = indices(graph.outputs(), count, false, "the list of outputs");
  std::vector<char> written(count, 0);
  for (int const i : m.inputs) {
    if (m.tensors[i].constant) damaged("input tensor " + std::to_string(i) + " is a constant");
    written[i] = 1;
  }
  for (std::size_t i = 0; i < count; ++i)
    if (m.tensors[i].constant || m.tensors[i].variable) written[i] = 1;
  for (flatbuffers::uoffset_t i = 0; i < graph.operators()->size(); ++i) {
    file::Operator const& f = *graph.operators()->Get(i);
    std::string const which = "operator " + std::to_string(i);
    if (f.code_index() >= from.operator_codes()->size()) damaged(which + " has code index " + std::to_string(f.code_index()) + ", which does not exist");
    file::OperatorCode const& code = *from.operator_codes()->Get(f.code_index());
    operation o;
    o.code = std::max<int>(code.code(), code.old_code());
    if (o.code == 32)
      throw failure(which + " is the custom operator " + (code.custom_code() != nullptr ? code.custom_code()->str() : "without a name") + ", which run_tflite does not know.");
    o.inputs = indices(f.inputs(), count, true, which);
    o.outputs = indices(f.outputs(), count, false, which);
    for (int const t : o.inputs)
      if (t >= 0 && !written[t]) damaged(which + " reads tensor " + std::to_string(t) + " before anything has written it");
    for (int const t : o.outputs) {
      if (m.tensors[t].constant) damaged(which + " writes tensor " + std::to_string(t) + ", which is a constant");
      if (std::count(m.inputs.begin(), m.inputs.end(), t) != 0 || (written[t] && !m.tensors[t].variable)) damaged(which + " writes tensor " + std::to_string(t) + " a second time");
      written[t] = 1;
    }
    o.o = read_options(f);
    m.operations.push_back(std::move(o));
  }
  for (int const t : m.outputs)
    if (!written[t]) damaged("nothing writes the output tensor " + std::to_string(t));
  return m;
}

}  // namespace run_tflite
