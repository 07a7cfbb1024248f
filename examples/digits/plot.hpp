// plot.hpp — accuracy against bits, as an SVG file.
#pragma once

#include <string>
#include <vector>

namespace digits {

/// One line of the plot: right answers at each number of bits, in per cent.
struct curve {
  std::string name;
  char const* color;
  bool dashed;
  std::vector<double> percent;
};

/// 95 % (Wilson) interval of a share of `right` among `total`, in per cent.
struct interval {
  double low, high;
};
interval binomial_interval(int right, int total);

/// `bits` are the x values of every curve; the float network's accuracy and interval are a band across. Throws when the file cannot be written.
void write_plot(std::string const& path, std::string const& title, std::vector<int> const& bits, std::vector<curve> const& curves,
                double float_percent, interval float_interval, int images);

/// Throws when the file cannot be written.
void write_text(std::string const& path, std::string const& text);

}  // namespace digits
