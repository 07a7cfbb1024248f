// quantize_npy — NumPy arrays in, integers out: codes as .npy, parameters as JSON and as a C++ header for firmware.
//
//     quantize_npy weights.npy --code s8 --per channel --method auto --out build/
//     quantize_npy weights.npy --code s4 --per group:64 --method gptq --calibration inputs.npy
#include <quern/calibrate/recommend.hpp>
#include <quern/compress/awq.hpp>
#include <quern/compress/gptq.hpp>
#include <quern/compress/hqq.hpp>
#include <quern/convert/quantize.hpp>
#include <quern/dispatch/thread_pool.hpp>
#include <quern/metric/compare.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using namespace quern;

namespace {

[[noreturn]] void stop(std::string const& sentence) { throw std::runtime_error(sentence); }

char const* const usage = R"(quantize_npy: quantize the floats of .npy files.

    quantize_npy [options] FILE.npy...

  --code s8|u8|s4|u4      what to store (s8). u8 and u4 take a zero point, s8 and s4 none
  --scale float|pow2      any scale, or powers of two only (float)
  --per tensor|channel|group:N
                          values that share a scale (channel): all, the first axis' index (of a vector: all), N neighbours of a row
  --method M              how the range is chosen (auto):
      min_max exact_grid mse lp l2_search percentile aciq_laplace aciq_gaussian entropy
                          from the values' histogram; auto takes the best of them for each scale
      gptq awq hqq        for matrices, rows are outputs; gptq and awq need --calibration
  --calibration X.npy     inputs of the layer, samples x inputs
  --out DIR               where NAME.codes.npy, NAME.json and NAME.hpp go (the file's folder)
  --name NAME             the name in the header (the file's)
  --report                print, write nothing
  --help

Exit status: 0, or 1 with a sentence on stderr when an input is refused.
)";

// ---- .npy ------------------------------------------------------------------------------------------------------------

struct array {
  std::vector<index_t> shape;
  std::vector<float> values;   // row-major
  index_t rows() const { return shape.size() < 2 ? 1 : shape[0]; }  // a vector is one row: a scale for each of its numbers would be no gain
  index_t cols() const { return rows() == 0 ? 0 : static_cast<index_t>(values.size()) / rows(); }
};

// The value of a key in the header's Python dictionary, up to the comma or bracket that ends it.
std::string entry(std::string const& header, std::string const& key, std::string const& file) {
  std::size_t const at = header.find("'" + key + "'");
  if (at == std::string::npos) stop(file + ": the .npy header has no " + key + ".");
  std::size_t begin = header.find(':', at) + 1;
  while (begin < header.size() && header[begin] == ' ') ++begin;
  char const close = header[begin] == '(' ? ')' : header[begin] == '\'' ? '\'' : ',';
  std::size_t const end = header.find(close, begin + 1);
  if (end == std::string::npos) stop(file + ": the .npy header is cut off in " + key + ".");
  return header.substr(begin, end - begin + (close == ',' ? 0 : 1));
}

array read_npy(std::string const& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) stop(file + ": cannot be opened for reading.");
  in.peek();  // a folder opens, but cannot be read
  if (in.bad()) stop(file + ": cannot be read; is it a folder?");
  std::string const bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0) stop(file + ": does not begin like a .npy file.");
  auto const byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  std::size_t const major = byte(6), begin = major == 1 ? 10 : 12;
  if (major < 1 || major > 3 || bytes.size() < begin) stop(file + ": .npy version " + std::to_string(major) + " is not known.");
  std::size_t const length = byte(8) + 256 * byte(9) + (major == 1 ? 0 : 65536 * byte(10) + 16777216 * byte(11));
  if (bytes.size() < begin + length) stop(file + ": the .npy header is cut off.");
  std::string const header = bytes.substr(begin, length);
  std::string const type = entry(header, "descr", file), order = entry(header, "fortran_order", file), shape = entry(header, "shape", file);

  array a;
  index_t count = 1;
  for (std::size_t i = 0; i < shape.size();) {
    if (shape[i] < '0' || shape[i] > '9') {
      ++i;
      continue;
    }
    std::size_t const end = std::min(shape.find_first_not_of("0123456789", i), shape.size()), used = end - i;
    if (used > 18) stop(file + ": shape " + shape + " is too big.");
    a.shape.push_back(std::stoll(shape.substr(i, used)));
    if (a.shape.back() > (index_t{1} << 40) / (count > 0 ? count : 1)) stop(file + ": shape " + shape + " is too big.");
    count *= a.shape.back();
    i += used;
  }
  if (order.rfind("True", 0) == 0 && a.shape.size() > 1) stop(file + ": is in Fortran order; save numpy.ascontiguousarray(array).");
  std::size_t const size = type == "'<f4'" ? 4 : type == "'<f8'" ? 8 : type == "'<f2'" ? 2 : 0;
  if (size == 0) stop(file + ": holds " + type + "; float16, float32 and float64 (little-endian) can be quantized.");
  if (bytes.size() - begin - length != size * static_cast<std::size_t>(count))
    stop(file + ": has " + std::to_string(bytes.size() - begin - length) + " bytes of data, shape " + shape + " needs " +
         std::to_string(size * static_cast<std::size_t>(count)) + ".");
  a.values.resize(static_cast<std::size_t>(count));
  char const* data = bytes.data() + begin + length;
  for (std::size_t i = 0; i < a.values.size(); ++i, data += size) {
    if (size == 4) {
      std::memcpy(&a.values[i], data, 4);
    } else if (size == 8) {
      double v;
      std::memcpy(&v, data, 8);
      a.values[i] = static_cast<float>(v);
    } else {
      half h;
      std::memcpy(&h.bits, data, 2);
      a.values[i] = h;
    }
    if (!is_finite(a.values[i])) stop(file + ": value " + std::to_string(i) + " is NaN or infinite as a float; remove it before quantizing.");
  }
  return a;
}

void write_file(std::string const& file, std::string const& bytes) {
  std::ofstream out(file, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) stop(file + ": cannot be written.");
}

/// As a JSON string has it.
std::string quoted(std::string const& text) {
  std::string s = "\"";
  for (char ch : text) {
    char code[8];
    if (static_cast<unsigned char>(ch) < 32) {
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(ch));
      s += code;
      continue;
    }
    if (ch == '"' || ch == '\\') s += '\\';
    s += ch;
  }
  return s + '"';
}

std::string shape_text(array const& a) {
  std::string s = "(";
  for (index_t n : a.shape) s += std::to_string(n) + ", ";
  if (!a.shape.empty()) s.resize(s.size() - (a.shape.size() > 1 ? 2 : 1));  // (6, 10), (60,), ()
  return s + ")";
}

void write_codes(std::string const& file, array const& a, std::vector<std::int16_t> const& codes, bool is_signed) {
  std::string header = std::string("{'descr': '") + (is_signed ? "|i1" : "|u1") + "', 'fortran_order': False, 'shape': " + shape_text(a) + ", }";
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  for (std::int16_t c : codes) bytes += static_cast<char>(c);
  write_file(file, bytes);
}

// ---- quantizing ------------------------------------------------------------------------------------------------------

struct options {
  std::string code = "s8", scale = "float", per = "channel", method = "auto", calibration, out, name;
  bool report_only = false;
  std::vector<std::string> files;
  index_t group(array const& a) const {   // neighbours of a row that share a scale
    if (per == "channel") return a.cols() > 0 ? a.cols() : 1;
    return std::stoll(per.substr(6));
  }
};

struct outcome {
  std::vector<std::int16_t> codes;
  std::vector<float> scales, zeros;
  std::vector<float> input_scales;   // awq: the layer runs on inputs divided by these
  std::string winners;            // which methods won, how often
  calibrate::concern concerns = calibrate::concern::none;
};

// One scale for `values`.
template <scheme S>
void quantize_piece(vector_view<float const> values, std::string const& method, outcome& o, std::vector<std::pair<std::string, int>>& won) {
  // A histogram of 4096 bins for a group of 64 values would be mostly clearing memory.
  calibrate::histogram h(values.size < 4096 ? 256 : 2048);
  h.observe(values);
  scale_zero_point chosen = S::choose(h.range(), {});
  std::string winner = "min_max";
  if (method == "auto") {
    auto const r = calibrate::recommend<S>(h, values);
    chosen = r.best.params;
    winner = r.best.name;
  } else if (h.count() > 0) {
    bool known = false;
    for_each_type<calibrate::calibrators>([&](auto tag) {
      using calibrator = typename decltype(tag)::type;
      if (method != calibrator::name) return;
      known = true;
      chosen = S::choose(calibrator{}.range(h, calibrate::facts_of<S>), {});
    });
    if (!known) stop("--method " + method + " is not known; --help lists them.");
    winner = method;
  }
  params<S> const p{chosen.scale, chosen.zero_point};
  std::vector<typename S::storage> codes(static_cast<std::size_t>(values.size));
  quantize(values, p, view(codes));
  o.codes.insert(o.codes.end(), codes.begin(), codes.end());
  o.scales.push_back(chosen.scale);
  o.zeros.push_back(static_cast<float>(chosen.zero_point));
  for (auto& [name, count] : won)
    if (name == winner) {
      ++count;
      return;
    }
  won.push_back({winner, 1});
}

template <scheme S>
outcome by_range(array const& a, options const& opt) {
  outcome o;
  std::vector<std::pair<std::string, int>> won;
  if (opt.per == "tensor") {
    quantize_piece<S>(view(a.values), opt.method, o, won);
  } else {
    index_t const group = opt.group(a);
    for (index_t i = 0; i < a.rows(); ++i)
      for (index_t j = 0; j < a.cols(); j += group)
        quantize_piece<S>({a.values.data() + i * a.cols() + j, a.cols() - j < group ? a.cols() - j : group, 1}, opt.method, o, won);
  }
  for (auto const& [name, count] : won) o.winners += (o.winners.empty() ? "" : ", ") + name + " x" + std::to_string(count);
  return o;
}

/// A line for each tenth of a large layer: a 4096 x 4096 one takes seconds, a larger one minutes.
void show_progress(void*, index_t done, index_t total) {
  if (done * 10 / total != (done - 1) * 10 / total) std::fprintf(stderr, "gptq: %ld %%\n", static_cast<long>(done * 100 / total));
}

outcome by_compression(array const& a, options const& opt) {
  if (a.shape.size() != 2) stop("--method " + opt.method + " needs a matrix; this array has shape " + shape_text(a) + ".");
  if (opt.per == "tensor") stop("--method " + opt.method + " gives each row its own scales; use --per channel or --per group:N.");
  if (opt.scale == "pow2") stop("--method " + opt.method + " chooses scales freely; --scale pow2 is for the methods that choose a range.");
  compress::weight_grid const grid{opt.code[1] - '0', opt.code[0] == 's', opt.per == "channel" ? 0 : opt.group(a)};
  matrix_view<float const> const w{a.values.data(), a.rows(), a.cols(), a.cols(), 1};
  outcome o;
  compress::quantized_weights q;
  if (opt.method == "hqq") {
    if (grid.symmetric) stop("--method hqq moves zero points; use --code u8 or u4.");
    q = compress::hqq(w, grid);
    o.winners = "hqq (zeros are real numbers: for kernels that dequantize)";
  } else {
    if (opt.calibration.empty()) stop("--method " + opt.method + " needs --calibration X.npy, inputs of this layer, samples x inputs.");
    array const x = read_npy(opt.calibration);
    if (x.shape.size() != 2 || x.cols() != a.cols())
      stop(opt.calibration + ": has shape " + shape_text(x) + "; it must be samples x " + std::to_string(a.cols()) + ".");
    matrix_view<float const> const samples{x.values.data(), x.rows(), x.cols(), x.cols(), 1};
    compress::hessian h(x.cols());
    h.add(samples);
    char line[160];
    if (opt.method == "gptq") {
      thread_pool pool;
      compress::gptq_options options{.act_order = true, .executor = pool};
      if (w.rows * w.cols >= index_t{1} << 20) options.progress.call = show_progress;
      auto r = compress::gptq(w, static_cast<compress::hessian&&>(h).take(), grid, options);
      std::snprintf(line, sizeof line, "gptq: output error %.4g, plain rounding %.4g", r.error, r.rounded_error);
      q = r.weights;
    } else {
      buffer<float> mean(x.cols());
      for (index_t i = 0; i < x.rows(); ++i)
        for (index_t j = 0; j < x.cols(); ++j) mean[j] += abs_of(samples(i, j)) / static_cast<float>(x.rows());
      auto r = compress::awq(w, view(mean), h.matrix(), grid, {.smallest_shrink = 0.5f});
      std::snprintf(line, sizeof line, "awq: alpha %.2f, output error %.4g, plain rounding %.4g; divide inputs by input_scales", r.alpha, r.error, r.rounded_error);
      q = r.weights;
      o.input_scales.assign(r.scales.begin(), r.scales.end());
    }
    o.winners = line;
  }
  int const shift = grid.symmetric ? 0 : 1 << (grid.bits - 1);   // signed codes inside, unsigned ones in the file
  for (std::int8_t c : q.codes) o.codes.push_back(static_cast<std::int16_t>(c + shift));
  o.scales.assign(q.scales.begin(), q.scales.end());
  for (float z : q.zeros) o.zeros.push_back(z + static_cast<float>(shift));
  return o;
}

outcome run(array const& a, options const& opt) {
  if (opt.method == "gptq" || opt.method == "awq" || opt.method == "hqq") return by_compression(a, opt);
  if (opt.scale == "pow2") {
    if (opt.code == "s8") return by_range<power_of_two<s8>>(a, opt);
    if (opt.code == "s4") return by_range<power_of_two<s4>>(a, opt);
    stop("--scale pow2 goes with --code s8 or s4.");
  }
  if (opt.code == "s8") return by_range<symmetric<s8, per_tensor, narrow_range>>(a, opt);
  if (opt.code == "s4") return by_range<symmetric<s4, per_tensor, narrow_range>>(a, opt);
  if (opt.code == "u8") return by_range<asymmetric<u8>>(a, opt);
  if (opt.code == "u4") return by_range<asymmetric<u4>>(a, opt);
  stop("--code " + opt.code + " is not known; it is s8, u8, s4 or u4.");
}

// ---- output ----------------------------------------------------------------------------------------------------------

template <class T>
std::string listed(std::vector<T> const& values, char const* format) {
  std::string s;
  char text[40];
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::snprintf(text, sizeof text, format, values[i]);
    s += text;
    if (i + 1 < values.size()) s += i % 12 == 11 ? ",\n    " : ", ";
  }
  return s;
}

// The same as float literals; an integer lacks the point that its suffix needs.
std::string floats(std::vector<float> const& values) {
  std::string s;
  std::istringstream split(listed(values, "%.9g"));
  for (std::string part; std::getline(split, part, ',');) s += (s.empty() ? "" : ",") + part + (part.find_first_of(".e") == std::string::npos ? ".0f" : "f");
  return s;
}

void report_and_write(std::string const& file, array const& a, outcome const& o, options const& opt) {
  std::vector<float> back(a.values.size());
  index_t const group = opt.per == "tensor" ? static_cast<index_t>(a.values.size()) : opt.group(a);
  index_t const rows = opt.per == "tensor" ? 1 : a.rows(), cols = rows == 0 ? 0 : static_cast<index_t>(a.values.size()) / rows;
  index_t const groups = group > 0 && cols > 0 ? (cols + group - 1) / group : 0;
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j) {
      auto const at = static_cast<std::size_t>(i * cols + j), s = static_cast<std::size_t>(i * groups + j / group);
      back[at] = o.scales[s] * (static_cast<float>(o.codes[at]) - o.zeros[s]);
      if (!o.input_scales.empty()) back[at] /= o.input_scales[static_cast<std::size_t>(j)];   // what dividing the inputs does
    }
  auto const c = metric::compare(vector_view<float const>(view(a.values)), vector_view<float const>(view(back)));
  int const bits = opt.code[1] - '0';
  double const total_bits = bits + 32.0 * static_cast<double>(o.scales.size()) / static_cast<double>(a.values.empty() ? 1 : a.values.size());
  std::printf("%s %s  %s, %zu scale%s  SQNR %.2f dB  max error %.3g  %.2f bits a value  [%s]\n", file.c_str(), shape_text(a).c_str(), opt.code.c_str(),
              o.scales.size(), o.scales.size() == 1 ? "" : "s", c.sqnr_db(), c.max_error, total_bits, o.winners.c_str());
  if (opt.report_only) return;

  std::size_t const slash = file.find_last_of('/'), dot = file.find_last_of('.');
  std::string const stem = file.substr(slash == std::string::npos ? 0 : slash + 1, dot - (slash == std::string::npos ? 0 : slash + 1));
  std::string const base = (opt.out.empty() ? (slash == std::string::npos ? "" : file.substr(0, slash + 1)) : opt.out + "/") + stem;
  std::string name = opt.name.empty() ? stem : opt.name;
  for (char& ch : name)
    if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9'))) ch = '_';
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) name = "_" + name;
  for (char const* taken : {"alignas", "asm", "auto", "bool", "break", "case", "catch", "char", "class", "concept", "const", "continue", "default", "delete", "do", "double",
                            "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable",
                            "namespace", "new", "operator", "private", "protected", "public", "register", "requires", "return", "short", "signed", "sizeof",
                            "static", "std", "struct", "switch", "template", "this", "throw", "true", "try", "typedef", "typename", "union", "unsigned", "using",
                            "virtual", "void", "volatile", "while", "and", "or", "not", "xor"})
    if (name == taken) name += '_';
  bool const integral = [&] {
    for (float z : o.zeros)
      if (z != trunc_of(z)) return false;
    return true;
  }();
  char const* const zero_format = integral ? "%.0f" : "%.9g";

  write_codes(base + ".codes.npy", a, o.codes, opt.code[0] == 's');
  std::ostringstream json;
  json << "{\n  \"source\": " << quoted(stem + ".npy") << ",\n  \"shape\": [";
  for (std::size_t i = 0; i < a.shape.size(); ++i) json << (i ? ", " : "") << a.shape[i];
  json << "],\n  \"code\": \"" << opt.code << "\",\n  \"per\": \"" << opt.per << "\",\n  \"method\": \"" << opt.method << "\",\n  \"real\": \"scale * (code - zero_point)\",\n"
       << "  \"sqnr_db\": " << (is_finite(c.sqnr_db()) ? std::to_string(c.sqnr_db()) : "null") << ",\n  \"scales\": [" << listed(o.scales, "%.9g") << "],\n  \"zero_points\": ["
       << listed(o.zeros, zero_format) << "]";
  if (!o.input_scales.empty()) json << ",\n  \"input_scales\": [" << listed(o.input_scales, "%.9g") << "]";
  json << "\n}\n";
  write_file(base + ".json", json.str());

  std::ostringstream header;
  std::string const code_type = opt.code[0] == 's' ? "std::int8_t" : "std::uint8_t";
  header << "// " << stem << ".hpp — written by quantize_npy from " << stem << ".npy, shape " << shape_text(a) << ", " << opt.code << ", scales per " << opt.per << ".\n"
         << "// real = scale * (code - zero_point)" << (bits == 4 ? "; one 4-bit code a byte" : "") << "\n#pragma once\n\n#include <cstdint>\n\nnamespace " << name << " {\n\n"
         << "inline constexpr " << code_type << " codes[" << (o.codes.empty() ? 1 : o.codes.size()) << "] = {\n    "
         << (o.codes.empty() ? "0" : listed(std::vector<int>(o.codes.begin(), o.codes.end()), "%d")) << "};\n\ninline constexpr float scales["
         << o.scales.size() << "] = {\n    " << floats(o.scales) << "};\n\n";
  if (!o.input_scales.empty())
    header << "// Divide the layer's inputs by these.\ninline constexpr float input_scales[" << o.input_scales.size() << "] = {\n    " << floats(o.input_scales) << "};\n\n";
  header << "inline constexpr " << (integral ? "std::int32_t" : "float") << " zero_points[" << o.zeros.size() << "] = {\n    "
         << listed(o.zeros, zero_format) << "};\n\n}  // namespace " << name << "\n";
  write_file(base + ".hpp", header.str());
}

options parse(int argc, char** argv) {
  options opt;
  auto const one_of = [](std::string const& key, std::string const& value, std::vector<std::string> const& allowed) {
    for (std::string const& a : allowed)
      if (a == value) return;
    std::string list;
    for (std::string const& a : allowed) list += (list.empty() ? "" : ", ") + a;
    stop(key + " " + value + " is not known; it is one of " + list + ".");
  };
  for (int i = 1; i < argc; ++i) {
    std::string const a = argv[i];
    auto const value = [&] {
      if (i + 1 >= argc) stop(a + " needs a value; --help explains.");
      return std::string(argv[++i]);
    };
    if (a == "--help" || a == "-h") {
      std::cout << usage;
      std::exit(0);
    } else if (a == "--code") {
      one_of(a, opt.code = value(), {"s8", "u8", "s4", "u4"});
    } else if (a == "--scale") {
      one_of(a, opt.scale = value(), {"float", "pow2"});
    } else if (a == "--per") {
      opt.per = value();
      if (opt.per.rfind("group:", 0) == 0) {
        std::string const n = opt.per.substr(6);
        if (n.empty() || n.size() > 9 || n.find_first_not_of("0123456789") != std::string::npos || std::stoll(n) < 1)
          stop("--per " + opt.per + ": a group has a whole number of values, at least 1.");
      } else {
        one_of(a, opt.per, {"tensor", "channel", "group:N"});
      }
    } else if (a == "--method") {
      opt.method = value();
    } else if (a == "--calibration") {
      opt.calibration = value();
    } else if (a == "--out") {
      opt.out = value();
    } else if (a == "--name") {
      opt.name = value();
    } else if (a == "--report") {
      opt.report_only = true;
    } else if (a.rfind("-", 0) == 0) {
      stop(a + " is no option; --help lists them.");
    } else {
      opt.files.push_back(a);
    }
  }
  if (opt.files.empty()) stop("no .npy file was named; --help explains.");
  return opt;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    options const opt = parse(argc, argv);
    for (std::string const& file : opt.files) {
      array const a = read_npy(file);
      if (a.values.empty()) stop(file + ": has no values, shape " + shape_text(a) + ".");
      report_and_write(file, a, run(a, opt), opt);
    }
  } catch (std::exception const& e) {
    std::fprintf(stderr, "quantize_npy: %s\n", e.what());
    return 1;
  }
}
