#include "data.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace digits {
namespace {

struct segment {
  float x0, y0, x1, y1;
};
// a b c d e f g of a seven-segment display, in a box from (-1, -2) to (1, 2), y down
constexpr segment segments[7] = {{-1, -2, 1, -2}, {1, -2, 1, 0}, {1, 0, 1, 2}, {-1, 2, 1, 2}, {-1, 0, -1, 2}, {-1, -2, -1, 0}, {-1, 0, 1, 0}};
constexpr unsigned char lit[10] = {0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f};

float distance_squared(segment s, float x, float y) {
  float const dx = s.x1 - s.x0, dy = s.y1 - s.y0;
  float const t = std::clamp(((x - s.x0) * dx + (y - s.y0) * dy) / (dx * dx + dy * dy), 0.0f, 1.0f);
  float const ex = x - s.x0 - t * dx, ey = y - s.y0 - t * dy;
  return ex * ex + ey * ey;
}

void draw(int digit, int side, generator& random, float* out) {
  float const angle = random.uniform(-0.25f, 0.25f), shear = random.uniform(-0.5f, 0.5f);
  float const width = random.uniform(2.2f, 3.8f), height = random.uniform(2.0f, 3.0f);  // pixels a unit of the box
  float const shift_x = random.uniform(-1.8f, 1.8f), shift_y = random.uniform(-1.5f, 1.5f);
  float const stroke = random.uniform(0.5f, 1.4f), brightness = random.uniform(0.5f, 1.0f), noise = random.uniform(0.05f, 0.2f);
  float const c = std::cos(angle), s = std::sin(angle), middle = (static_cast<float>(side) - 1) / 2;
  std::vector<segment> strokes;
  for (int k = 0; k < 7; ++k)
    if (lit[digit] >> k & 1) {
      segment const at = segments[k];
      strokes.push_back({at.x0 * width + at.y0 * shear, at.y0 * height, at.x1 * width + at.y1 * shear, at.y1 * height});
    }
  for (int py = 0; py < side; ++py)
    for (int px = 0; px < side; ++px) {
      float const x = static_cast<float>(px) - middle - shift_x, y = static_cast<float>(py) - middle - shift_y;
      float const turned_x = c * x + s * y, turned_y = c * y - s * x;
      float nearest = 1e9f;
      for (segment const& at : strokes) nearest = std::min(nearest, distance_squared(at, turned_x, turned_y));
      float const ink = std::clamp(stroke + 0.5f - std::sqrt(nearest), 0.0f, 1.0f);
      out[py * side + px] = std::clamp(brightness * ink + noise * random.normal(), 0.0f, 1.0f);
    }
}

}  // namespace

dataset draw_digits(int size, std::uint64_t seed) {
  dataset d;
  d.side = 16;
  d.pixels.resize(static_cast<std::size_t>(size) * 256);
  d.labels.resize(static_cast<std::size_t>(size));
  generator random(seed);
  for (int i = 0; i < size; ++i) {
    int const digit = random.below(10);
    d.labels[static_cast<std::size_t>(i)] = digit;
    draw(digit, 16, random, d.pixels.data() + static_cast<std::size_t>(i) * 256);
  }
  return d;
}

dataset read_csv(std::string const& path, float& brightest) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  dataset d;
  std::string line;
  std::vector<double> values;
  for (int number = 1; std::getline(file, line); ++number) {
    auto const refuse = [&](std::string const& why) -> std::runtime_error {
      return std::runtime_error(path + ", line " + std::to_string(number) + ": " + why);
    };
    if (number == 1 && line.rfind("\xef\xbb\xbf", 0) == 0) line.erase(0, 3);  // Excel's byte order mark
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    values.clear();
    bool is_number = true, last_is_number = true;
    for (char const* at = line.c_str();;) {
      char* end = nullptr;
      double const v = std::strtod(at, &end);
      while (*end == ' ' || *end == '\t' || *end == '\r') ++end;
      last_is_number = end != at && (*end == ',' || *end == '\0');
      is_number = is_number && last_is_number && std::abs(v) <= 1e30;  // within float, also squared sums of their ratios
      values.push_back(v);
      end += std::strcspn(end, ",");
      if (*end == '\0') break;
      at = end + 1;
    }
    if (!is_number) {
      if (number == 1 && !last_is_number) continue;  // a header: it names the label
      throw refuse("every field must be a number, of magnitude 1e30 at most");
    }
    int const pixels = static_cast<int>(values.size()) - 1;
    int const side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(std::max(pixels, 0)))));
    if (pixels < 4 || side * side != pixels)
      throw refuse(std::to_string(values.size()) + " fields; there must be the pixels of a square image and the label");
    if (d.side == 0) d.side = side;
    if (side != d.side)
      throw refuse(std::to_string(side) + " x " + std::to_string(side) + " pixels, where the lines before have " + std::to_string(d.side) + " x " + std::to_string(d.side));
    double const label = values.back();
    if (label != std::floor(label) || label < 0 || label > 9) throw refuse("the label (last field) must be a digit, 0 to 9");
    d.labels.push_back(static_cast<int>(label));
    for (int i = 0; i < pixels; ++i) {
      if (values[static_cast<std::size_t>(i)] < 0) throw refuse("a pixel is negative");
      d.pixels.push_back(static_cast<float>(values[static_cast<std::size_t>(i)]));
    }
  }
  if (d.size() == 0) throw std::runtime_error(path + ": holds no image");
  if (brightest <= 0) brightest = *std::max_element(d.pixels.begin(), d.pixels.end());
  if (brightest <= 0) throw std::runtime_error(path + ": all pixels are 0");
  for (float& p : d.pixels) p /= brightest;
  return d;
}

dataset split_off(dataset& all, int one_in, std::uint64_t seed) {
  generator random(seed);
  std::vector<int> order(static_cast<std::size_t>(all.size()));
  for (int i = 0; i < all.size(); ++i) order[static_cast<std::size_t>(i)] = i;
  for (int i = all.size() - 1; i > 0; --i) std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(random.below(i + 1))]);
  dataset kept, off;
  kept.side = off.side = all.side;
  for (int i = 0; i < all.size(); ++i) {
    int const from = order[static_cast<std::size_t>(i)];
    dataset& to = i < all.size() / one_in ? off : kept;
    to.labels.push_back(all.labels[static_cast<std::size_t>(from)]);
    to.pixels.insert(to.pixels.end(), all.image(from), all.image(from) + all.pixel_count());
  }
  all = kept;
  return off;
}

void jitter(float const* image, int side, float shift, generator& random, float* out) {
  float const angle = random.uniform(-0.17f, 0.17f), zoom = random.uniform(0.9f, 1.1f);
  float const c = std::cos(angle) / zoom, s = std::sin(angle) / zoom, middle = (static_cast<float>(side) - 1) / 2;
  float const from_x = middle + random.uniform(-shift, shift), from_y = middle + random.uniform(-shift, shift);
  auto const at = [&](int x, int y) { return x >= 0 && y >= 0 && x < side && y < side ? image[y * side + x] : 0.0f; };
  for (int py = 0; py < side; ++py)
    for (int px = 0; px < side; ++px) {
      float const x = static_cast<float>(px) - middle, y = static_cast<float>(py) - middle;
      float const u = from_x + c * x + s * y, v = from_y + c * y - s * x;
      float const fu = std::floor(u), fv = std::floor(v), a = u - fu, b = v - fv;
      int const iu = static_cast<int>(fu), iv = static_cast<int>(fv);
      out[py * side + px] = (1 - b) * ((1 - a) * at(iu, iv) + a * at(iu + 1, iv)) + b * ((1 - a) * at(iu, iv + 1) + a * at(iu + 1, iv + 1));
    }
}

}  // namespace digits
