#include <quern/calibrate/min_max.hpp>
#include <quern/convert/constexpr_array.hpp>
#include <quern/reference/quantize.hpp>

#include "support/catch.hpp"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#if defined(__linux__)
#include <link.h>
#endif

using namespace quern;

namespace constexpr_array_test {
// Read only by the compiler: nothing of these floats may be in the program. (As it would be in a header: inline. GCC keeps
// constants of internal linkage in unoptimized builds, used or not.)
inline constexpr float weights[3][8] = {{0.7310585f, -0.119202922f, 0.0474258732f, -0.952574127f, 0.268941421f, 0.5f, -0.880797078f, 0.017986209f},
                                 {10.7310585f, -3.119202922f, 7.0474258732f, 0.0f, 1.268941421f, -9.5f, 2.880797078f, -0.017986209f},
                                 {1e-20f, -2e-20f, 3e-20f, 0.0f, 0.0f, 4e-20f, -4e-20f, 5e-21f}};
}  // namespace constexpr_array_test

namespace {

using constexpr_array_test::weights;
constexpr auto per_tensor_codes = quantize_array<symmetric<s8>>(weights);
constexpr auto by_row = quantize_array<symmetric<s8, per_channel<0>, narrow_range>>(weights);
constexpr auto by_column = quantize_array<asymmetric<u8, per_channel<1>>>(weights);
constexpr auto by_group = quantize_array<symmetric<s4, per_group<4>, narrow_range>>(weights);
constexpr auto packed = pack_array(by_group);

static_assert(per_tensor_codes.params.scale == static_cast<float>(10.7310585f / 127.0));
static_assert(per_tensor_codes.codes[8] == 127 && per_tensor_codes.codes[0] == 9 && per_tensor_codes.codes[16] == 0);
static_assert(by_row.scale_count == 3 && by_row.codes[3] == -127 && by_row.codes[21] == 127 && by_row.codes[22] == -127);
static_assert(by_column.scale_count == 8 && by_column.params.zero_points[0] == 0);
static_assert(by_group.scale_count == 6 && by_group.codes[3] == -7 && by_group.codes[8] == 7);
static_assert(packed.view().get(3) == -7 && packed.view().get(8) == 7 && sizeof packed == 12);
static_assert(quantize_array<symmetric<s8>>({1.0f, -2.0f}, params<symmetric<s8>>{0.5f, 0}).codes[1] == -4);
static_assert(quantize_array<symmetric<s8>>(std::array{1.0f, -2.0f, 127.0f}).codes[1] == -2);
static_assert(quantize_array<symmetric<s8, per_row>>(std::array<std::array<float, 2>, 2>{{{1, 127}, {2, 254}}}).params.scales[1] == 2.0f);
static_assert(quantize_array<symmetric<s8>, round_to::half_away>({2.5f, 127.0f}).codes[0] == 3);
static_assert(quantize_array<symmetric<s8>>({2.5f, 127.0f}).codes[0] == 2);
static_assert(quantize_array<symmetric<s8>>({0.0f, 0.0f}).params.scale == 1.0f);
static_assert(quantize_array<power_of_two<s8>>({1.0f, -1.0f}).params.scale == 1.0f / 64);
static_assert(quantize_array<symmetric<s8>>({2.5, 127.0}).codes[0] == 2 && quantize_array<symmetric<s8>>({half(2.5f), half(127)}).codes[0] == 2);
static_assert(quantize_array<symmetric<s8>>({bfloat16(1.5f), bfloat16(127)}).codes[0] == 2);
// Just above half a step of 0.5: as a double above the tie, as a float on it.
static_assert(quantize_array<symmetric<s8>>({0.25 + 0x1p-30}, params<symmetric<s8>>{0.5f, 0}).codes[0] == 1);
static_assert(quantize_array<symmetric<s8>>({static_cast<float>(0.25 + 0x1p-30)}, params<symmetric<s8>>{0.5f, 0}).codes[0] == 0);
static_assert(dequantize_array(by_row)[3] == by_row.params.scales[0] * -127.0f && dequantize_array<double>(per_tensor_codes)[16] == 0.0);
static_assert(dequantize_array<half>(quantize_array<asymmetric<u8>>({0.0f, 255.0f})) == std::array{half(0), half(255)});

template <class Scheme, index_t Rows, index_t Cols>
void equals_run_time(quantized_array<Scheme, Rows, Cols> const& q, float const* x) {
  calibrate::min_max<typename Scheme::granularity> seen;
  seen.observe(row_major(x, Rows, Cols));
  std::vector<typename Scheme::storage> codes(static_cast<std::size_t>(Rows * Cols));
  params<Scheme> p;
  if constexpr (Scheme::granularity::single)
    p = choose_params<Scheme>(seen.range());
  else
    p = choose_params<Scheme>(seen.ranges());
  reference::quantize<Scheme>(row_major(x, Rows, Cols), p.view(), row_major(codes.data(), Rows, Cols));
  CHECK(std::vector<int>(codes.begin(), codes.end()) == std::vector<int>(q.codes, q.codes + Rows * Cols));
  for (index_t g = 0; g < p.size(); ++g) {
    CHECK(p.view().scale(g) == q.params.view().scale(g));
    CHECK(p.view().zero_point(g) == q.params.view().zero_point(g));
  }
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)  // which guards the gaps between constants
/// Whether the bytes are anywhere in what the system loaded of this program.
bool loaded(void const* bytes, std::size_t size) {
  struct search {
    void const* bytes;
    std::size_t size;
    bool found = false;
  } s{bytes, size};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& s = *static_cast<search*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          auto const& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_R) == 0 || (segment.p_flags & PF_W) != 0) continue;
          if (memmem(reinterpret_cast<void const*>(info->dlpi_addr + segment.p_vaddr), segment.p_memsz, s.bytes, s.size) != nullptr)
            s.found = true;
        }
        return 1;  // the first one is the program itself
      },
      &s);
  return s.found;
}
#endif

}  // namespace

TEST_CASE("quantize_array: at compile time the same codes and params as at run time", "[convert][constexpr]") {
  float x[24];
  for (int i = 0; i < 24; ++i) {
    char text[40];  // by way of text, so that the floats do not get into the program
    std::snprintf(text, sizeof text, "%s", std::vector<char const*>{
        "0.7310585", "-0.119202922", "0.0474258732", "-0.952574127", "0.268941421", "0.5", "-0.880797078", "0.017986209",
        "10.7310585", "-3.119202922", "7.0474258732", "0", "1.268941421", "-9.5", "2.880797078", "-0.017986209",
        "1e-20", "-2e-20", "3e-20", "0", "0", "4e-20", "-4e-20", "5e-21"}[static_cast<std::size_t>(i)]);
    x[i] = std::strtof(text, nullptr);
  }
  equals_run_time(per_tensor_codes, x);
  equals_run_time(by_row, x);
  equals_run_time(by_column, x);
  equals_run_time(by_group, x);
  auto const at_run_time = quantize_array<symmetric<s4, per_group<4>, narrow_range>>(reinterpret_cast<float const(&)[3][8]>(x));
  CHECK(std::memcmp(at_run_time.codes, by_group.codes, sizeof by_group.codes) == 0);

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
  // The integers are in the program's read-only memory, the floats that they came from are not: rows and even pairs.
  auto const* const kept = &by_row;
  auto const* volatile escape = kept;
  REQUIRE(loaded(escape->codes, sizeof by_row.codes));
  for (int pair = 0; pair < 16; pair += 2) CHECK_FALSE(loaded(x + pair, 2 * sizeof(float)));
#endif
}

TEST_CASE("quantize_array: NaN, infinities and useless params are refused at run time too", "[convert][constexpr][errors]") {
  float bad[] = {1.0f, 0.0f};
  bad[1] = std::nanf("");
  std::string what;
  try {
    (void)quantize_array<symmetric<s8>>(bad);
  } catch (error const& e) {
    what = e.what();
  }
  CHECK(what == "quantize_array: element (0, 1) is NaN or infinite; constants must be finite.");
  CHECK_THROWS_AS(quantize_array<symmetric<s8>>({1.0f, 2.0f}, params<symmetric<s8>>{-1.0f, 0}), error);
}
