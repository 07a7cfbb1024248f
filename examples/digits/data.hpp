// data.hpp — images of digits: drawn by the program itself, or read from a CSV file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace digits {

/// Square images, one after the other, pixels 0 to 1, and what they show.
struct dataset {
  int side = 0;
  std::vector<float> pixels;
  std::vector<int> labels;

  int pixel_count() const { return side * side; }
  int size() const { return static_cast<int>(labels.size()); }
  float const* image(int i) const { return pixels.data() + static_cast<std::size_t>(i) * static_cast<std::size_t>(pixel_count()); }
};

/// SplitMix64: the same numbers on every machine and with every standard library.
class generator {
 public:
  explicit generator(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Uniform in [low, high).
  float uniform(float low, float high) { return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24f; }
  /// Nearly normal, mean 0, deviation 1: the sum of four uniform numbers of 16 bits, centred and scaled.
  float normal() {
    std::uint64_t const z = next();
    auto const sum = static_cast<float>((z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48));
    return (sum - 131070.0f) * (1.7320508f / 65536.0f);
  }
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }

 private:
  std::uint64_t state_;
};

/// `size` images of 16 x 16: seven-segment digits, turned, sheared, shifted, of all strokes and brightnesses, with noise.
dataset draw_digits(int size, std::uint64_t seed);

/// One image a line: side * side values of any non-negative range, then the label. A header line is skipped. Throws std::runtime_error
/// that names the line. `brightest` scales the pixels to 0..1; 0 finds it in this file and sets it.
dataset read_csv(std::string const& path, float& brightest);

/// Moves every `one_in`th image, chosen at random, to a second data set.
dataset split_off(dataset& all, int one_in, std::uint64_t seed);

/// A copy of the image, turned by up to 10 degrees, scaled by up to 10 % and shifted by up to `shift` pixels.
void jitter(float const* image, int side, float shift, generator& random, float* out);

}  // namespace digits
