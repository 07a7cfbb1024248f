#include "sounds.hpp"

#include <algorithm>
#include <cmath>

namespace keyword {
namespace {

constexpr float pi = 3.14159265358979f;

struct formants {
  float hertz[3];
};
constexpr formants vowel_a{{730, 1090, 2440}}, vowel_e{{530, 1840, 2480}}, vowel_i{{270, 2290, 3010}}, vowel_o{{570, 840, 2410}}, vowel_u{{300, 870, 2240}};
constexpr struct {
  formants from, to;
} spoken[] = {{vowel_a, vowel_a}, {vowel_e, vowel_e}, {vowel_i, vowel_i}, {vowel_o, vowel_o}, {vowel_u, vowel_u}, {vowel_a, vowel_i}, {vowel_i, vowel_a}};

}  // namespace

float generator::normal() {
  float const u = uniform(1e-7f, 1), v = uniform(0, 1);
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * pi * v);
}

std::vector<std::int16_t> synthesize(int word, generator& random) {
  std::vector<float> sound(clip_samples, 0.0f);
  int const length = static_cast<int>(random.uniform(0.28f, 0.55f) * sample_rate), start = random.below(clip_samples - length);
  float const pitch = random.uniform(90, 260), glide = random.uniform(-0.25f, 0.25f);
  bool const noise_only = word == classes - 1, chirp = !noise_only && word >= static_cast<int>(sizeof(spoken) / sizeof(spoken[0]));
  if (chirp) {
    float low = random.uniform(250, 700), high = low * random.uniform(2, 5), phase = 0;
    if (word == classes - 2) std::swap(low, high);
    for (int i = 0; i < length; ++i) {
      phase += 2 * pi * low * std::pow(high / low, static_cast<float>(i) / static_cast<float>(length)) / sample_rate;
      sound[static_cast<std::size_t>(start + i)] = std::sin(phase) + 0.3f * std::sin(2 * phase);
    }
  } else if (!noise_only) {
    // Pulses of the glottis through one resonator a formant.
    float const tract = random.uniform(0.88f, 1.18f);
    float shift[3], y1[3] = {}, y2[3] = {}, phase = 0;
    for (float& s : shift) s = tract * random.uniform(0.95f, 1.05f);
    float const breath = random.uniform(0.01f, 0.06f);
    float a1[3] = {}, a2[3] = {}, gain[3] = {};
    for (int i = 0; i < length; ++i) {
      float const t = static_cast<float>(i) / static_cast<float>(length), blend = std::clamp((t - 0.25f) * 2, 0.0f, 1.0f);
      if (i % 64 == 0)
        for (int k = 0; k < 3; ++k) {
          float const hertz = shift[k] * ((1 - blend) * spoken[word].from.hertz[k] + blend * spoken[word].to.hertz[k]);
          float const r = std::exp(-pi * (60 + 0.05f * hertz) / sample_rate);
          a1[k] = 2 * r * std::cos(2 * pi * hertz / sample_rate);
          a2[k] = -r * r;
          gain[k] = (1 - r) * (k == 0 ? 1.0f : k == 1 ? 0.6f : 0.3f);
        }
      phase += pitch * (1 + glide * t) / sample_rate;
      float pulse = breath * random.uniform(-1, 1);
      if (phase >= 1) phase -= 1, pulse += 1;
      for (int k = 0; k < 3; ++k) {
        float const y = gain[k] * pulse + a1[k] * y1[k] + a2[k] * y2[k];
        y2[k] = y1[k], y1[k] = y;
        sound[static_cast<std::size_t>(start + i)] += y;
      }
    }
  }
  float const edge = 0.03f * sample_rate;
  double energy = 0;
  for (int i = 0; i < length; ++i) {
    float const fade = std::min({1.0f, static_cast<float>(i) / edge, static_cast<float>(length - i) / edge});
    float& s = sound[static_cast<std::size_t>(start + i)];
    s *= fade;
    energy += static_cast<double>(s) * s;
  }
  float const loud = std::exp(random.uniform(std::log(600.0f), std::log(6000.0f))), snr = random.uniform(-3, 18);
  float const scale = energy > 0 ? loud / static_cast<float>(std::sqrt(energy / length)) : 0, hiss = loud * std::pow(10.0f, -snr / 20), colour = random.uniform(0, 0.9f);
  float low_passed = 0;
  std::vector<std::int16_t> clip(clip_samples);
  for (std::size_t i = 0; i < clip.size(); ++i) {
    low_passed = colour * low_passed + random.uniform(-1.7f, 1.7f) * std::sqrt(1 - colour * colour);
    clip[i] = static_cast<std::int16_t>(std::clamp(scale * sound[i] + hiss * low_passed, -32768.0f, 32767.0f));
  }
  return clip;
}

front_end::front_end() : hann_(window), cosine_(window / 2), sine_(window / 2), reversed_(window) {
  auto const q15 = [](double x) { return static_cast<std::int32_t>(std::lround(x * 32767)); };
  for (int i = 0; i < window; ++i) {
    hann_[static_cast<std::size_t>(i)] = q15(0.5 - 0.5 * std::cos(2.0 * 3.141592653589793 * i / window));
    int r = 0;
    for (int bit = 1; bit < window; bit *= 2) r = 2 * r + ((i & bit) != 0 ? 1 : 0);
    reversed_[static_cast<std::size_t>(i)] = r;
  }
  for (int i = 0; i < window / 2; ++i) {
    cosine_[static_cast<std::size_t>(i)] = q15(std::cos(2.0 * 3.141592653589793 * i / window));
    sine_[static_cast<std::size_t>(i)] = q15(-std::sin(2.0 * 3.141592653589793 * i / window));
  }
  auto const mel = [](double hertz) { return 1127.0 * std::log1p(hertz / 700.0); };
  double const low = mel(100), step = (mel(7600) - low) / (bands + 1), bin = static_cast<double>(sample_rate) / window;
  for (int b = 0; b < bands; ++b) {
    first_.push_back(-1);
    count_.push_back(0);
    for (int k = 1; k < window / 2; ++k) {
      double const w = 1 - std::fabs(mel(k * bin) - (low + (b + 1) * step)) / step;
      if (w <= 0) continue;
      if (first_.back() < 0) first_.back() = k;
      ++count_.back();
      weight_.push_back(static_cast<std::int32_t>(std::lround(w * 4096)));
    }
  }
}

void front_end::frame(std::int16_t const* samples, std::int16_t* out) const {
  // Ten bits of headroom against rounding; every stage of the FFT halves, so that nothing overflows.
  std::int32_t re[window], im[window] = {};
  for (int i = 0; i < window; ++i) re[reversed_[static_cast<std::size_t>(i)]] = (samples[i] * hann_[static_cast<std::size_t>(i)] >> 15) * 1024;
  for (int half = 1; half < window; half *= 2)
    for (int base = 0; base < window; base += 2 * half)
      for (int k = 0; k < half; ++k) {
        std::size_t const turn = static_cast<std::size_t>(k * (window / 2 / half));
        std::int64_t const c = cosine_[turn], s = sine_[turn];
        std::int32_t &ar = re[base + k], &ai = im[base + k], &br = re[base + k + half], &bi = im[base + k + half];
        auto const tr = static_cast<std::int32_t>((br * c - bi * s) >> 15), ti = static_cast<std::int32_t>((br * s + bi * c) >> 15);
        br = (ar - tr) >> 1, bi = (ai - ti) >> 1;
        ar = (ar + tr) >> 1, ai = (ai + ti) >> 1;
      }
  std::int32_t const* w = weight_.data();
  for (std::size_t b = 0; b < bands; ++b) {
    std::uint64_t energy = 1;
    for (int k = first_[b]; k < first_[b] + count_[b]; ++k)
      energy += (static_cast<std::uint64_t>(static_cast<std::int64_t>(re[k]) * re[k] + static_cast<std::int64_t>(im[k]) * im[k]) >> 8) * static_cast<std::uint64_t>(*w++);
    int const exponent = 63 - __builtin_clzll(energy);  // log2(1 + f) is taken as f
    std::uint64_t const mantissa = exponent >= 8 ? energy >> (exponent - 8) : energy << (8 - exponent);
    out[b] = static_cast<std::int16_t>(256 * exponent + static_cast<int>(mantissa & 255));
  }
}

dataset make_dataset(front_end const& f, int clips, std::uint64_t seed) {
  generator random(seed);
  dataset d;
  d.values.resize(static_cast<std::size_t>(clips) * features);
  for (int i = 0; i < clips; ++i) {
    int const word = i % classes;
    auto const clip = synthesize(word, random);
    for (int t = 0; t < frames; ++t) f.frame(clip.data() + t * hop, d.values.data() + (static_cast<std::ptrdiff_t>(i) * frames + t) * bands);
    d.labels.push_back(word);
  }
  return d;
}

}  // namespace keyword
