#include "plot.hpp"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace digits {

interval binomial_interval(int right, int total) {
  double const n = total, p = right / n, z = 1.959964, z2 = z * z;
  double const middle = (p + z2 / (2 * n)) / (1 + z2 / n), half = z / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {100 * (middle - half), 100 * (middle + half)};
}

void write_plot(std::string const& path, std::string const& title, std::vector<int> const& bits, std::vector<curve> const& curves,
                double float_percent, interval float_interval, int images) {
  double const left = 64, top = 56, width = 560, height = 320;
  auto const x_of = [&](double b) { return left + width * (b - bits.front()) / (bits.back() - bits.front()); };
  auto const y_of = [&](double percent) { return top + height * (1 - percent / 100); };
  std::string svg;
  char text[512];
  auto const put = [&](char const* format, auto... values) {
    std::snprintf(text, sizeof text, format, values...);
    svg += text;
  };
  put("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 450\" width=\"860\" height=\"450\" font-family=\"sans-serif\" font-size=\"13\">\n");
  put("<rect width=\"860\" height=\"450\" fill=\"white\"/>\n<text x=\"%g\" y=\"28\" font-size=\"17\">%s</text>\n", left, title.c_str());
  for (int percent = 0; percent <= 100; percent += 20)
    put("<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" stroke=\"#ddd\"/>\n<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%d %%</text>\n", left, left + width,
        y_of(percent), y_of(percent), left - 8, y_of(percent) + 4, percent);
  for (int b : bits) put("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%d</text>\n", x_of(b), top + height + 20, b);
  put("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">bits of a weight (activations: 8)</text>\n", left + width / 2, top + height + 46);
  put("<rect x=\"%g\" y=\"%.2f\" width=\"%g\" height=\"%.2f\" fill=\"#888\" opacity=\"0.35\"/>\n", left, y_of(float_interval.high), width,
      std::fmax(y_of(float_interval.low) - y_of(float_interval.high), 1.0));
  put("<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" stroke=\"#aaa\" stroke-dasharray=\"2 4\"/>\n<text x=\"%g\" y=\"%g\" fill=\"#777\">chance</text>\n", left,
      left + width, y_of(10), y_of(10), left + width / 3, y_of(10) - 6);
  double legend = top + 8;
  put("<rect x=\"%g\" y=\"%g\" width=\"24\" height=\"8\" fill=\"#888\" opacity=\"0.5\"/>\n<text x=\"%g\" y=\"%g\">float32, %.2f %%</text>\n", left + width + 16,
      legend - 4, left + width + 46, legend + 4, float_percent);
  for (curve const& c : curves) {
    char const* const dash = c.dashed ? " stroke-dasharray=\"7 4\"" : "";
    svg += "<polyline fill=\"none\" stroke-width=\"2.2\" stroke=\"" + std::string(c.color) + "\"" + dash + " points=\"";
    for (std::size_t i = 0; i < bits.size(); ++i) put("%.1f,%.1f ", x_of(bits[i]), y_of(c.percent[i]));
    svg += "\"/>\n";
    for (std::size_t i = 0; i < bits.size(); ++i)
      put("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.6\" fill=\"%s\"><title>%s, %d bits: %.2f %%</title></circle>\n", x_of(bits[i]), y_of(c.percent[i]), c.color,
          c.name.c_str(), bits[i], c.percent[i]);
    legend += 26;
    put("<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" stroke=\"%s\" stroke-width=\"2.2\"%s/>\n<text x=\"%g\" y=\"%g\">%s</text>\n", left + width + 16,
        left + width + 40, legend, legend, c.color, dash, left + width + 46, legend + 4, c.name.c_str());
  }
  put("<text x=\"%g\" y=\"%g\" fill=\"#555\">%d test images</text>\n</svg>\n", left + width + 16, legend + 34, images);
  write_text(path, svg);
}

void write_text(std::string const& path, std::string const& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

}  // namespace digits
