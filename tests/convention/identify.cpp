// identify.cpp — the detective finds each arithmetic in its own output; the page of differences is what the types give.
#include "quern/convention/identify.hpp"

#include "../../examples/convention_table/table.hpp"
#include "support/catch.hpp"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace quern;

/// Outputs of a convention's own stage, and of one arithmetic, for accumulators around every tie of several scales.
template <class Convention>
std::vector<trace_sample> trace_of_stage(std::vector<double> const& scales) {
  std::vector<trace_sample> trace;
  for (double scale : scales) {
    auto const stage = Convention::template output_stage<s8>(static_cast<float>(scale), 1.0f, {1.0f, 5});
    double const effective = Convention::effective_scale(static_cast<float>(scale), 1.0f, 1.0f);
    for (int n = -130; n <= 130; ++n)
      for (double place : {0.25, 0.5, 0.75}) {
        auto const acc = static_cast<std::int32_t>((n + place) / scale);
        trace.push_back({.accumulator = acc, .scale = effective, .zero_point = 5, .output = stage(acc)});
      }
  }
  return trace;
}
template <class Rescale>
std::vector<trace_sample> trace_of(std::vector<double> const& scales) {
  std::vector<trace_sample> trace;
  for (double scale : scales)
    for (int n = -130; n <= 130; ++n)
      for (double place : {0.25, 0.5, 0.75}) {
        auto const acc = static_cast<std::int32_t>((n + place) / scale);
        std::int64_t const y = std::int64_t{Rescale::apply(acc, Rescale::from_real(scale))} + 5;
        trace.push_back({.accumulator = acc, .scale = scale, .zero_point = 5, .output = static_cast<std::int32_t>(clamp<std::int64_t>(y, -128, 127))});
      }
  return trace;
}

verdict const* found(verdict const* list, std::size_t size, std::string const& name) {
  for (std::size_t i = 0; i < size; ++i)
    if (name == list[i].name) return list + i;
  return nullptr;
}

}  // namespace

TEST_CASE("every convention is identified by its own accumulators", "[convention][identify]") {
  for_each_type<conventions>([](auto tag) {
    using c = typename decltype(tag)::type;
    INFO(c::name);
    bool const powers = c::rescaling::accepts(0.25) && !c::rescaling::accepts(0.3);
    auto const trace = trace_of_stage<c>(powers ? std::vector<double>{0.5, 0.25, 0.0625} : std::vector<double>{0.5, 0.25, 0.1, 0.0431, 0.0073});
    auto const result = identify(view(trace));
    REQUIRE(result.samples == static_cast<index_t>(trace.size()));
    auto const* own = found(result.by_convention, conventions::size, c::name);
    REQUIRE(own != nullptr);
    REQUIRE(own->explains());
    REQUIRE(own->tried == result.samples);
    bool const onednn = std::string(c::name) == "pytorch_onednn";  // rounds with the zero point, which others add afterwards
    REQUIRE(found(result.by_convention, conventions::size, "pytorch_onednn")->explains() == onednn);
    REQUIRE(result.conventions_left() >= 1);
    REQUIRE(result.conventions_left() < static_cast<index_t>(conventions::size));  // ties tell somebody apart
  });
}

TEST_CASE("double rounding is told from single, and the sample that tells is named", "[convention][identify]") {
  // 1 * 0.25: two roundings give 1, one gives 0 (numerics: TFLite, variants a and b).
  trace_sample const trace[] = {{.accumulator = 1000, .scale = 0.1, .output = 100}, {.accumulator = 1, .scale = 0.25, .output = 1}};
  auto const result = identify(view(trace));
  REQUIRE(found(result.by_convention, conventions::size, "tflite")->explains());
  auto const& single = *found(result.by_convention, conventions::size, "tflite_single");
  REQUIRE_FALSE(single.explains());
  REQUIRE(single.ruled_out_by == 1);
  REQUIRE(single.expected == 0);
  auto const& pot = *found(result.by_convention, conventions::size, "vitis_ai");
  REQUIRE_FALSE(pot.applicable);
  REQUIRE(pot.ruled_out_by == 0);
}

TEST_CASE("a trace of multipliers and shifts says the same as one of scales", "[convention][identify]") {
  auto scales = trace_of<rescale::gemmlowp_double>({0.1, 0.0431});
  auto pairs = scales;
  for (auto& s : pairs) {
    auto const m = rescale::quantize_multiplier(s.scale);
    s.scale = 0;
    s.multiplier = m.multiplier;
    s.shift = m.shift;
  }
  auto const a = identify(view(scales)), b = identify(view(pairs));
  for (std::size_t i = 0; i < rescales::size; ++i)
    if (std::string(a.by_arithmetic[i].arithmetic) == "gemmlowp_double" || std::string(a.by_arithmetic[i].arithmetic) == "tflite_single") {
      REQUIRE(a.by_arithmetic[i].explains() == b.by_arithmetic[i].explains());
      REQUIRE(a.by_arithmetic[i].ruled_out_by == b.by_arithmetic[i].ruled_out_by);
    }
}

TEST_CASE("identify works at compile time", "[convention][identify]") {
  constexpr bool told = [] {
    trace_sample const trace[] = {{.accumulator = 1, .scale = 0.25, .output = 1}};
    auto const r = identify(vector_view<trace_sample const>{trace, 1, 1});
    return r.conventions_left() > 0 && r.arithmetics_left() > 0;
  }();
  STATIC_REQUIRE(told);
}

TEST_CASE("identify refuses a trace that cannot be one", "[convention][identify][errors]") {
  auto const message = [](trace_sample s, int min = -128, int max = 127) -> std::string {
    try {
      (void)identify(vector_view<trace_sample const>{&s, 1, 1}, min, max);
    } catch (error const& e) {
      return e.what();
    }
    return "";
  };
  REQUIRE(message({.scale = 0}).find("sample 0 has the scale 0") != std::string::npos);
  REQUIRE(message({.scale = -1}).find("it must be positive and finite") != std::string::npos);
  REQUIRE(message({.scale = 1, .output = 300}).find("outside of [-128, 127]") != std::string::npos);
  REQUIRE(message({.scale = 1}, 5, 4).find("min must not be above max") != std::string::npos);
  REQUIRE_THROWS_AS(identify(vector_view<trace_sample const>{nullptr, 3, 1}), error);
  auto const none = identify({});
  REQUIRE(none.conventions_left() == static_cast<index_t>(conventions::size));
}

TEST_CASE("docs/conventions.md is what the conventions give", "[convention][docs]") {
  std::ifstream in(std::string(QUERN_SOURCE_DIR) + "/docs/conventions.md");
  std::stringstream page;
  page << in.rdbuf();
  bool const same = page.str() == convention_table::markdown();
  INFO("run convention_table > docs/conventions.md after a change to the conventions");
  REQUIRE(same);
}
