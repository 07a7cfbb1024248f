// operators.cpp — models of one operator, written here: what each of them gives, and what is refused with which words.
#include "support/catch.hpp"

#include "network.hpp"
#include "schema_generated.h"

#include <cmath>
#include <cstring>

using namespace run_tflite;

namespace {

struct operand {
  std::vector<std::int32_t> extents;
  element type = element::i8;
  float scale = 1;
  int zero_point = 0;
  std::vector<std::int64_t> values = {};  // of constants
};

template <class T>
void append(std::vector<std::uint8_t>& to, std::int64_t v) {
  T const x = static_cast<T>(v);
  to.resize(to.size() + sizeof x);
  std::memcpy(to.data() + to.size() - sizeof x, &x, sizeof x);
}
std::vector<std::uint8_t> bytes_of(element e, std::vector<std::int64_t> const& values) {
  std::vector<std::uint8_t> b;
  for (std::int64_t const v : values) e == element::i16 ? append<std::int16_t>(b, v) : e == element::i32 ? append<std::int32_t>(b, v) : append<std::int8_t>(b, v);
  return b;
}

using table = flatbuffers::Offset<void>;
struct no_options {
  table operator()(flatbuffers::FlatBufferBuilder&) const { return {}; }
};

/// A model whose only operator reads all operands but the last `outputs`.
template <class Options = no_options>
std::vector<unsigned char> write(int code, std::vector<operand> const& operands, std::size_t outputs = 1, file::Options kind = file::Options_NONE, Options const& options = {},
                                 char const* custom = nullptr) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<file::Buffer>> buffers = {file::CreateBuffer(b)};
  std::vector<flatbuffers::Offset<file::Tensor>> tensors;
  std::vector<std::int32_t> in, out, fed;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    operand const& o = operands[i];
    if (!o.values.empty()) buffers.push_back(file::CreateBuffer(b, b.CreateVector(bytes_of(o.type, o.values))));
    auto const q = file::CreateQuantization(b, 0, 0, b.CreateVector(std::vector<float>{o.scale}), b.CreateVector(std::vector<std::int64_t>{o.zero_point}));
    auto const name = b.CreateString("t" + std::to_string(i));
    tensors.push_back(file::CreateTensor(b, b.CreateVector(o.extents), static_cast<std::int8_t>(o.type), o.values.empty() ? 0 : static_cast<std::uint32_t>(buffers.size() - 1), name, q));
    bool const is_output = i + outputs >= operands.size();
    (is_output ? out : in).push_back(static_cast<std::int32_t>(i));
    if (!is_output && o.values.empty()) fed.push_back(static_cast<std::int32_t>(i));
  }
  auto const o = options(b);
  std::vector<flatbuffers::Offset<file::Operator>> const operators = {file::CreateOperator(b, 0, b.CreateVector(in), b.CreateVector(out), kind, o)};
  std::vector<flatbuffers::Offset<file::Subgraph>> const graphs = {file::CreateSubgraph(b, b.CreateVector(tensors), b.CreateVector(fed), b.CreateVector(out), b.CreateVector(operators))};
  std::vector<flatbuffers::Offset<file::OperatorCode>> const codes = {
      file::CreateOperatorCode(b, static_cast<std::int8_t>(code < 127 ? code : 127), custom != nullptr ? b.CreateString(custom) : 0, 1, code)};
  file::FinishModelBuffer(b, file::CreateModel(b, 3, b.CreateVector(codes), b.CreateVector(graphs), 0, b.CreateVector(buffers)));
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

using numbers = std::vector<std::int64_t>;
numbers run(std::vector<unsigned char> const& bytes, std::vector<numbers> const& inputs, std::size_t output = 0) {
  network net(read_model(bytes.data(), bytes.size()), rounding::twice, {});
  auto const& m = net.file();
  REQUIRE(inputs.size() == m.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    auto const& t = m.tensors[static_cast<std::size_t>(m.inputs[i])];
    auto const b = bytes_of(t.type, inputs[i]);
    REQUIRE(static_cast<quern::index_t>(b.size()) == t.bytes());
    std::memcpy(net.data(m.inputs[i]), b.data(), b.size());
  }
  for (auto const& l : net.layers()) l.run();
  int const at = m.outputs[output];
  auto const& t = m.tensors[static_cast<std::size_t>(at)];
  numbers y;
  for (quern::index_t i = 0; i < t.extents.size(); ++i) {
    unsigned char const* const p = net.data(at);
    std::int16_t s = 0;
    std::int32_t l = 0;
    if (t.type == element::i16) std::memcpy(&s, p + 2 * i, 2), y.push_back(s);
    if (t.type == element::i32) std::memcpy(&l, p + 4 * i, 4), y.push_back(l);
    if (t.type == element::i8) y.push_back(static_cast<std::int8_t>(p[i]));
  }
  return y;
}

void refused(std::vector<unsigned char> const& bytes, std::string const& words) {
  try {
    network net(read_model(bytes.data(), bytes.size()), rounding::twice, {});
    FAIL("not refused: " << words);
  } catch (failure const& e) {
    INFO(e.what());
    CHECK(std::string(e.what()).find(words) != std::string::npos);
  }
}

constexpr element i8 = element::i8, i16 = element::i16, i32 = element::i32;

template <class T, class... Arguments>
auto made(flatbuffers::Offset<T> (*create)(flatbuffers::FlatBufferBuilder&, Arguments...), std::type_identity_t<Arguments>... arguments) {
  return [=](flatbuffers::FlatBufferBuilder& b) { return create(b, arguments...).Union(); };
}

}  // namespace

TEST_CASE("operators give the specification's vectors", "[tflite]") {
  // ADD: 10 * 0.5 + 20 * 0.5 = 15 in scale 1; SUB; MUL; clamps.
  CHECK(run(write(0, {{{1, 3}, i8, 0.5f}, {{1, 3}, i8, 0.5f}, {{1, 3}, i8, 1}}), {{10, -1, 127}, {20, -2, 127}}) == numbers{15, -2, 127});
  CHECK(run(write(0, {{{1, 2}, i16, 0.5f}, {{1}, i16, 0.5f, 0, {20}}, {{1, 2}, i16, 1}}), {{10, 1000}}) == numbers{15, 510});
  CHECK(run(write(41, {{{1, 2}, i8, 1}, {{1, 2}, i8, 1}, {{1, 2}, i8, 1}}), {{10, -100}, {20, 100}}) == numbers{-10, -128});
  CHECK(run(write(18, {{{1, 2}, i8, 1}, {{1, 2}, i8, 1}, {{1, 2}, i8, 4}}), {{10, 127}, {5, 127}}) == numbers{13, 127});
  CHECK(run(write(55, {{{2}, i8}, {{2}, i8}, {{2}, i8}}), {{1, -5}, {-3, 4}}) == numbers{1, 4});
  CHECK(run(write(57, {{{2}, i8}, {{2}, i8}, {{2}, i8}}), {{1, -5}, {-3, 4}}) == numbers{-3, -5});
  CHECK(run(write(25, {{{1, 5}, i8, 1}, {{1, 5}, i8, 1.0f / 256, -128}}, 1, file::Options_SoftmaxOptions, made(file::CreateSoftmaxOptions, 1.0f)), {{1, 2, 3, 4, 5}}) ==
        numbers{-125, -120, -106, -68, 35});
  CHECK(run(write(117, {{{10}, i8, 4.0f / 127}, {{10}, i8, 4.0f / 127}}), {{-127, -96, -64, -1, 0, 1, 32, 64, 96, 127}}) == numbers{0, 0, -11, 0, 0, 1, 21, 54, 96, 127});
  CHECK(run(write(19, {{{3}, i8, 0.5f, 3}, {{3}, i8, 0.5f, 3}}), {{-9, 3, 9}}) == numbers{3, 3, 9});
  CHECK(run(write(14, {{{3}, i8, 0.1f}, {{3}, i8, 1.0f / 256, -128}}), {{-128, 0, 127}}) == numbers{-128, 0, 127});
  CHECK(run(write(1, {{{1, 1, 2, 1}, i8}, {{1, 1, 1, 1}, i8}}, 1, file::Options_PoolOptions, made(file::CreatePoolOptions, 1, 1, 1, 2, 1, 0)), {{-1, -2}}) == numbers{-2});
  CHECK(run(write(101, {{{4}, i8, 0.5f, 3}, {{4}, i8, 0.5f, -4}}), {{-128, 3, 2, 127}}) == numbers{127, -4, -3, 120});
  CHECK(run(write(101, {{{4}, i16, 0.5f}, {{4}, i16, 1}}), {{-32768, -3, 1, 7}}) == numbers{16384, 2, 1, 4});  // ties up, as products of TFLite
  CHECK(run(write(76, {{{5}, i8, 1, -3}, {{5}, i8, 1.0f / 64, -60}}), {{-3, -2, -1, 1, 97}}) == numbers{127, 4, -15, -28, -54});
  CHECK(run(write(76, {{{3}, i16, 0.25f}, {{3}, i16, 1.0f / 1024}}), {{0, 4, 400}}) == numbers{32767, 1024, 102});
  {
    auto const e = run(write(47, {{{3}, i16, 1.0f / 32768}, {{3}, i16, 3.0f / 32768}}), {{-32768, 0, 32767}});
    for (std::size_t k = 0; k < 3; ++k) CHECK(std::abs(static_cast<double>(e[k]) - std::exp(static_cast<double>(k) - 1) / 3 * 32768) < 2.5);
  }
  // Pairs of (-32768)^2, which 32 bits do not hold.
  CHECK(run(write(126, {{{1, 20}, i16}, {{20, 1}, i16}, {{1, 1}, i16, 1e6f}}), {numbers(20, -32768), numbers(20, -32768)}) == numbers{21475});
  CHECK(run(write(40, {{{1, 4}, i8}, {{1}, i32, 0, 0, {1}}, {{1, 1}, i8}}), {{1, 2, 3, 6}}) == numbers{3});
  CHECK(run(write(74, {{{2, 2}, i16}, {{1}, i32, 0, 0, {0}}, {{1, 2}, i16}}), {{100, 2, -3, 6}}) == numbers{97, 8});
  CHECK(run(write(114, {{{2}, i16, 0.25f}, {{2}, i32, 0.125f}}), {{-5, 3000}}) == numbers{-10, 6000});
  CHECK(run(write(114, {{{3}, i32, 0.25f}, {{3}, i8, 0.5f, 2}}), {{-5, 7, 100000}}) == numbers{0, 6, 127});  // -2.5: the high product sends ties up
}

TEST_CASE("operators that move codes put them where they belong", "[tflite]") {
  numbers const six = {1, 2, 3, 4, 5, 6};
  for (element const e : {i8, i16, i32}) {
    CHECK(run(write(39, {{{2, 3}, e}, {{2}, i32, 0, 0, {1, 0}}, {{3, 2}, e}}), {six}) == numbers{1, 4, 2, 5, 3, 6});
    CHECK(run(write(65, {{{2, 3}, e}, {{2}, i32, 0, 0, {0, 1}}, {{2}, i32, 0, 0, {2, -1}}, {{2, 2}, e}}), {six}) == numbers{2, 3, 5, 6});
    CHECK(run(write(45, {{{2, 3}, e}, {{2}, i32, 0, 0, {1, 2}}, {{2}, i32, 0, 0, {0, 0}}, {{2}, i32, 0, 0, {-1, -2}}, {{1, 1}, e}}), {six}) == numbers{6});
    CHECK(run(write(45, {{{2, 3}, e}, {{2}, i32, 0, 0, {-1, 0}}, {{2}, i32, 0, 0, {9, 9}}, {{2}, i32, 0, 0, {1, 2}}, {{2}, e}}, 1, file::Options_StridedSliceOptions,
                    made(file::CreateStridedSliceOptions, 0, 0, 0, 0, 1, false)), {six}) == numbers{4, 6});
    CHECK(run(write(83, {{{3}, e}, {{3}, e}, {{3, 2}, e}}, 1, file::Options_PackOptions, made(file::CreatePackOptions, 2, 1)), {{1, 2, 3}, {4, 5, 6}}) == numbers{1, 4, 2, 5, 3, 6});
    CHECK(run(write(88, {{{3, 2}, e}, {{3}, e}, {{3}, e}}, 2, file::Options_UnpackOptions, made(file::CreatePackOptions, 2, 1)), {six}, 1) == numbers{2, 4, 6});
    CHECK(run(write(49, {{{1}, i32, 0, 0, {1}}, {{2, 4}, e}, {{2, 2}, e}, {{2, 2}, e}}, 2, file::Options_SplitOptions, made(file::CreateSplitOptions, 2)), {{1, 2, 3, 4, 5, 6, 7, 8}}, 1) ==
          numbers{3, 4, 7, 8});
    CHECK(run(write(2, {{{2, 1}, e}, {{2, 2}, e}, {{2, 3}, e}}, 1, file::Options_ConcatenationOptions, made(file::CreateConcatenationOptions, -1, 0)), {{1, 4}, {2, 3, 5, 6}}) == six);
    CHECK(run(write(34, {{{1, 2}, e, 1, 7}, {{2, 2}, i32, 0, 0, {1, 0, 0, 1}}, {{2, 3}, e, 1, 7}}), {{1, 2}}) == numbers{7, 7, 7, 1, 2, 7});
    CHECK(run(write(100, {{{1, 3}, e}, {{2, 2}, i32, 0, 0, {0, 0, 2, 1}}, {{1, 6}, e}}, 1, file::Options_MirrorPadOptions, made(file::CreateMirrorPadOptions, 0)), {{1, 2, 3}}) ==
          numbers{3, 2, 1, 2, 3, 2});
    CHECK(run(write(77, {{{2, 3}, e}, {{2}, i32}}), {six}) == numbers{2, 3});
    CHECK(run(write(22, {{{2, 3}, e}, {{6}, e}}), {six}) == six);
  }
  CHECK(run(write(82, {{{2, 3}, i8}, {{1}, i32, 0, 0, {1}}, {{2, 1}, i8}}), {{-3, -1, -2, 4, 9, 7}}) == numbers{-1, 9});
  CHECK(run(write(89, {{{2, 3}, i16}, {{1}, i32, 0, 0, {0}}, {{3}, i16}}), {{-3, 1, -2, 4, -9, 7}}) == numbers{-3, -9, -2});
  CHECK(run(write(56, {{{2, 3}, i8}, {{1}, i32, 0, 0, {1}}, {{2}, i32}}), {{-3, 1, -2, 4, -9, 7}}) == numbers{1, 2});
  CHECK(run(write(56, {{{2, 3}, i8}, {{1}, i32, 0, 0, {0}}, {{3}, i32}}), {{-3, 1, -2, 4, -9, -2}}) == numbers{1, 0, 0});
  CHECK(run(write(56, {{{2, 2, 2}, i16}, {{1}, i32, 0, 0, {-2}}, {{2, 2}, i32}}), {{5, 1, 5, 2, -7, 9, -6, 8}}) == numbers{0, 1, 1, 0});
  // A 3 x 3 image in blocks of 2, with a row and a column of zero points; and back.
  numbers const blocks = {1, 3, 7, 9, 2, 5, 8, 5, 4, 6, 5, 5, 5, 5, 5, 5}, image = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  operand const block{{2}, i32, 0, 0, {2, 2}}, border{{2, 2}, i32, 0, 0, {0, 1, 0, 1}};
  CHECK(run(write(38, {{{1, 3, 3, 1}, i8, 1, 5}, block, border, {{4, 2, 2, 1}, i8, 1, 5}}), {image}) == blocks);
  CHECK(run(write(37, {{{4, 2, 2, 1}, i8, 1, 5}, block, border, {{1, 3, 3, 1}, i8, 1, 5}}), {blocks}) == image);
  CHECK(run(write(97, {{{1, 1, 2, 1}, i8}, {{2}, i32, 0, 0, {1, 4}}, {{1, 1, 4, 1}, i8}}), {{3, 8}}) == numbers{3, 3, 8, 8});
  CHECK(run(write(23, {{{1, 1, 2, 1}, i8}, {{2}, i32, 0, 0, {1, 4}}, {{1, 1, 4, 1}, i8}}), {{0, 100}}) == numbers{0, 50, 100, 100});
}

TEST_CASE("what run_tflite lacks is named", "[tflite]") {
  operand const x{{1, 4}, i8}, f{{1, 4}, element::f32};
  refused(write(44, {x, x}), "UNIDIRECTIONAL_SEQUENCE_LSTM (number 44) is an operator that run_tflite does not have");
  refused(write(140, {x, x}), "number 140");
  refused(write(32, {x, x}, 1, file::Options_NONE, no_options{}, "Ethos"), "custom operator Ethos");
  refused(write(0, {f, f, f}), "ADD of float32, float32 to float32 is not supported");
  refused(write(25, {x, {{1, 4}, i32}}), "SOFTMAX of int8 to int32 is not supported");
  refused(write(0, {{{1, 4}, static_cast<element>(15)}, x, x}), "type number 15");
  refused(write(0, {x, {{1, 3}, i8}, x}), "operator 0: broadcast");
  refused(write(38, {{{1, 3, 3, 1}, i8}, {{2}, i32, 0, 0, {2, 2}}, {{2, 2}, i32, 0, 0, {0, 0, 0, 1}}, {{4, 2, 2, 1}, i8}}), "does not fit its blocks");
  refused(write(82, {{{2, 3}, i8, 1}, {{1}, i32, 0, 0, {1}}, {{2, 1}, i8, 2}}), "different scales");
  refused(write(9, {x, {{2, 4}, i8}, {{1, 2}, i8}}), "needs a constant");
  refused(write(2, {x, x, {{1, 8}, i8}}, 1, file::Options_ConcatenationOptions, made(file::CreateConcatenationOptions, 5, 0)), "dimension 5");
}
