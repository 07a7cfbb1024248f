// sounds.hpp — spoken-like sounds that the program makes up, and an integer log-mel front end.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace keyword {

constexpr int sample_rate = 16000, window = 512, hop = 320, bands = 24, frames = 32;
constexpr int clip_samples = (frames - 1) * hop + window, features = frames * bands;
constexpr double frame_seconds = static_cast<double>(hop) / sample_rate;

/// Five vowels, two diphthongs, two chirps, and nothing but noise.
constexpr char const* words[] = {"a", "e", "i", "o", "u", "ai", "ia", "rise", "fall", "(noise)"};
constexpr int classes = static_cast<int>(sizeof(words) / sizeof(words[0]));

/// The same numbers on every machine (the standard library's distributions are not).
class generator {
 public:
  explicit generator(std::uint64_t seed) : bits_(seed) {}
  float uniform(float lo, float hi) { return lo + (hi - lo) * static_cast<float>(static_cast<double>(bits_() >> 11) * 0x1p-53); }
  int below(int n) { return static_cast<int>(bits_() % static_cast<std::uint64_t>(n)); }
  float normal();

 private:
  std::mt19937_64 bits_;
};

/// A clip of clip_samples: one word of random pitch, vocal tract, loudness, place and length, in noise of -3 to 18 dB.
std::vector<std::int16_t> synthesize(int word, generator& random);

/// 512 samples to 24 bands of 256 log2(energy): Hann window, FFT, squares, mel triangles and logarithm in integers throughout.
class front_end {
 public:
  front_end();
  void frame(std::int16_t const* samples, std::int16_t* out) const;

 private:
  std::vector<std::int32_t> hann_, cosine_, sine_, weight_;  // Q15; weights Q12, those of each band one after the other
  std::vector<int> reversed_, first_, count_;                // bits; a band's first bin, and how many it has
};

struct dataset {
  std::vector<std::int16_t> values;  // features of a clip, clip after clip: frames x bands
  std::vector<int> labels;
  int size() const { return static_cast<int>(labels.size()); }
  std::int16_t const* clip(int i) const { return values.data() + static_cast<std::ptrdiff_t>(i) * features; }
};
dataset make_dataset(front_end const& f, int clips, std::uint64_t seed);

}  // namespace keyword
