// detective.cpp — which framework's arithmetic produced these integers?
//
//     detective                                  a demonstration on a made-up trace
//     detective TRACE.csv [--range MIN MAX]      a trace of yours
//
// TRACE.csv has a header line that names its columns, in any order: accumulator, zero_point, output, and either scale or
// multiplier and shift (value = multiplier * 2^(shift - 31)). Lines that are empty or begin with # are passed over.
#include <quern/convention/identify.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct bad_input {
  std::string what;
};

std::vector<std::string> fields_of(std::string const& line) {
  std::vector<std::string> fields;
  std::stringstream in(line);
  for (std::string f; std::getline(in, f, ',');) {
    std::size_t const first = f.find_first_not_of(" \t\r"), last = f.find_last_not_of(" \t\r");
    fields.push_back(first == std::string::npos ? "" : f.substr(first, last - first + 1));
  }
  return fields;
}

// Line 0 is the command line.
bad_input wrong(std::string const& text, int line, std::string const& column, char const* wanted) {
  return {(line > 0 ? "line " + std::to_string(line) + ": " : "") + column + " is '" + text + "', which is no " + wanted};
}

double number(std::string const& text, int line, std::string const& column) {
  char* end = nullptr;
  double const x = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') throw wrong(text, line, column, "number");
  return x;
}

std::int32_t integer(std::string const& text, int line, std::string const& column) {
  double const x = number(text, line, column);
  if (!(x >= -2147483648.0 && x <= 2147483647.0) || x != static_cast<double>(static_cast<std::int32_t>(x)))
    throw wrong(text, line, column, "32-bit integer");
  return static_cast<std::int32_t>(x);
}

std::vector<quern::trace_sample> read_trace(char const* path) {
  std::ifstream in(path);
  if (!in) throw bad_input{std::string("cannot open ") + path};
  std::vector<std::string> columns;
  std::vector<quern::trace_sample> trace;
  int number_of_line = 0;
  for (std::string line; std::getline(in, line);) {
    if (++number_of_line == 1 && line.rfind("\xef\xbb\xbf", 0) == 0) line.erase(0, 3);  // Excel's byte order mark
    auto const fields = fields_of(line);
    if (line.find_first_not_of(" \t\r") == std::string::npos || (!fields[0].empty() && fields[0][0] == '#')) continue;
    if (columns.empty()) {
      columns = fields;
      auto const has = [&](char const* name) {
        for (auto const& c : columns)
          if (c == name) return true;
        return false;
      };
      if (!has("accumulator") || !has("output") || !(has("scale") || (has("multiplier") && has("shift"))))
        throw bad_input{"the first line must name the columns: accumulator, zero_point, output, and scale or multiplier and shift"};
      continue;
    }
    if (fields.size() != columns.size())
      throw bad_input{"line " + std::to_string(number_of_line) + " has " + std::to_string(fields.size()) + " fields, the header " + std::to_string(columns.size())};
    quern::trace_sample s;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] == "accumulator") s.accumulator = integer(fields[i], number_of_line, columns[i]);
      else if (columns[i] == "scale") s.scale = number(fields[i], number_of_line, columns[i]);
      else if (columns[i] == "multiplier") s.multiplier = integer(fields[i], number_of_line, columns[i]);
      else if (columns[i] == "shift") s.shift = integer(fields[i], number_of_line, columns[i]);
      else if (columns[i] == "zero_point") s.zero_point = integer(fields[i], number_of_line, columns[i]);
      else if (columns[i] == "output") s.output = integer(fields[i], number_of_line, columns[i]);
      else throw bad_input{"'" + columns[i] + "' is no column that this program knows"};
    }
    trace.push_back(s);
  }
  if (trace.empty()) throw bad_input{std::string(path) + " holds no samples"};
  return trace;
}

/// What TFLite Micro gives for a thousand accumulators of one channel.
std::vector<quern::trace_sample> made_up_trace() {
  using arithmetic = quern::rescale::gemmlowp_double;
  std::vector<quern::trace_sample> trace;
  double const scale = 0.0431;
  std::uint32_t state = 7;
  for (int i = 0; i < 1000; ++i) {
    state = state * 1664525u + 1013904223u;
    auto const acc = static_cast<std::int32_t>(state >> 19) - 4096;
    int const y = arithmetic::apply(acc, arithmetic::from_real(scale)) - 7;
    trace.push_back({.accumulator = acc, .scale = scale, .zero_point = -7, .output = y < -128 ? -128 : y > 127 ? 127 : y});
  }
  return trace;
}

template <std::size_t N>
void print(char const* title, quern::verdict const (&list)[N], std::vector<quern::trace_sample> const& trace) {
  std::printf("\n%-24s %-20s %s\n", title, "arithmetic", "verdict");
  for (bool wanted : {true, false})  // those that explain everything first
    for (quern::verdict const& v : list) {
      if (v.explains() != wanted) continue;
      std::printf("%-24s %-20s ", v.name, v.arithmetic);
      if (v.explains()) {
        std::printf("explains all %td samples\n", static_cast<std::ptrdiff_t>(trace.size()));
        continue;
      }
      auto const& s = trace[static_cast<std::size_t>(v.ruled_out_by)];
      if (!v.applicable)
        std::printf("ruled out: it takes no scale like that of sample %td\n", v.ruled_out_by);
      else
        std::printf("ruled out by sample %td: accumulator %d gives %d, the trace has %d\n", v.ruled_out_by, s.accumulator, v.expected, s.output);
    }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    int min = -128, max = 127;
    char const* path = nullptr;
    for (int i = 1; i < argc; ++i) {
      if (std::strcmp(argv[i], "--range") == 0 && i + 2 < argc) {
        min = integer(argv[i + 1], 0, "--range");
        max = integer(argv[i + 2], 0, "--range");
        i += 2;
      } else if (argv[i][0] == '-' || path != nullptr) {
        bool const help = std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0;
        if (!help) std::fprintf(stderr, "detective: %s %s\n", argv[i], std::strcmp(argv[i], "--range") == 0 ? "needs two values" : argv[i][0] == '-' ? "is no option" : "is a second trace; one at a time");
        std::fprintf(help ? stdout : stderr,
                     "usage: detective [TRACE.csv] [--range MIN MAX]\n\n"
                     "Tells which framework's arithmetic explains a trace of accumulators and codes; without one, shows how on a made-up trace.\n"
                     "TRACE.csv names its columns in its first line, in any order: accumulator, zero_point (0 without it), output, and scale or\n"
                     "multiplier and shift. --range: the clamp of the outputs (-128 127).\n");
        return help ? 0 : 2;
      } else {
        path = argv[i];
      }
    }
    auto const trace = path != nullptr ? read_trace(path) : made_up_trace();
    if (path == nullptr)
      std::printf("No trace given: a demonstration on 1000 outputs of TFLite Micro's arithmetic, scale 0.0431, zero point -7.\n");
    auto const found = quern::identify(quern::view(trace), min, max);
    print("convention", found.by_convention, trace);
    print("arithmetic by itself", found.by_arithmetic, trace);
    if (found.conventions_left() + found.arithmetics_left() == 0)
      std::printf("\nNothing known explains this trace: check zero point, clamp (--range) and the scale's precision.\n");
    else if (found.conventions_left() > 1)
      std::printf("\n%td conventions are left; samples nearer to ties (accumulator * scale = n + 1/2) tell more of them apart.\n", found.conventions_left());
    return 0;
  } catch (bad_input const& e) {
    std::fprintf(stderr, "detective: %s\n", e.what.c_str());
  } catch (quern::error const& e) {
    std::fprintf(stderr, "detective: %s\n", e.what());
  }
  return 1;
}
