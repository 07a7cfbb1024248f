#include "files.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace run_tflite {

namespace {

using quern::index_t;

bool ends_with(std::string const& s, char const* end) {
  std::size_t const n = std::strlen(end);
  if (s.size() < n) return false;
  return std::equal(s.end() - static_cast<std::ptrdiff_t>(n), s.end(), end, [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

template <class T>
T little(unsigned char const* p) {
  T v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

/// One number into element i of the tensor, refused when its type does not hold it.
void store(std::string const& path, tensor const& t, unsigned char* to, index_t i, double v) {
  auto const whole = [&](double low, double high) {
    if (!(v >= low && v <= high) || v != std::floor(v))
      throw failure(path + ": value " + std::to_string(i) + " is " + std::to_string(v) + ", which is no " + name(t.type) + ".");
    return v;
  };
  switch (t.type) {
    case element::f32: { float const f = static_cast<float>(v); std::memcpy(to + 4 * i, &f, 4); break; }
    case element::i8: { auto const q = static_cast<std::int8_t>(whole(-128, 127)); std::memcpy(to + i, &q, 1); break; }
    case element::u8: case element::boolean: { auto const q = static_cast<std::uint8_t>(whole(0, 255)); std::memcpy(to + i, &q, 1); break; }
    case element::i16: { auto const q = static_cast<std::int16_t>(whole(-32768, 32767)); std::memcpy(to + 2 * i, &q, 2); break; }
    case element::i32: { auto const q = static_cast<std::int32_t>(whole(-2147483648.0, 2147483647.0)); std::memcpy(to + 4 * i, &q, 4); break; }
    case element::i64: { auto const q = static_cast<std::int64_t>(whole(-9007199254740992.0, 9007199254740992.0)); std::memcpy(to + 8 * i, &q, 8); break; }
    default: throw failure(path + ": inputs of type " + name(t.type) + " are not supported.");
  }
}

void read_csv(std::string const& path, std::vector<unsigned char> text, tensor const& t, unsigned char* to) {
  text.push_back('\0');
  char const* at = reinterpret_cast<char const*>(text.data());
  index_t i = 0;
  for (index_t const n = t.extents.size();; ++i) {
    while (*at == ',' || *at == ' ' || *at == '\t' || *at == '\n' || *at == '\r' || *at == ';') ++at;
    if (*at == '\0') break;
    char* end = nullptr;
    double const v = std::strtod(at, &end);
    if (end == at) throw failure(path + ": after " + std::to_string(i) + " numbers comes something that is none.");
    if (i >= n) throw failure(path + ": more than the " + std::to_string(n) + " numbers that the input has.");
    store(path, t, to, i, v);
    at = end;
  }
  if (i != t.extents.size()) throw failure(path + ": " + std::to_string(i) + " numbers, but the input has " + std::to_string(t.extents.size()) + ".");
}

char const* npy_type(element e) {
  switch (e) {
    case element::f32: return "<f4";
    case element::i32: return "<i4";
    case element::u8: return "|u1";
    case element::i64: return "<i8";
    case element::boolean: return "|b1";
    case element::i16: return "<i2";
    default: return "|i1";
  }
}

void read_npy(std::string const& path, std::vector<unsigned char> const& f, tensor const& t, unsigned char* to) {
  if (f.size() < 12 || std::memcmp(f.data(), "\x93NUMPY", 6) != 0) throw failure(path + " is not a NumPy file.");
  bool const first = f[6] == 1;
  std::size_t const header = first ? little<std::uint16_t>(f.data() + 8) : little<std::uint32_t>(f.data() + 8), begin = first ? 10 : 12;
  if (header > f.size() - begin) throw failure(path + ": the header is cut off.");
  std::string const text(f.begin() + static_cast<std::ptrdiff_t>(begin), f.begin() + static_cast<std::ptrdiff_t>(begin + header));
  if (text.find("'fortran_order': True") != std::string::npos) throw failure(path + ": the array is in Fortran order; save it in C order.");
  std::size_t const d = text.find("'descr':");
  std::size_t const q0 = d == std::string::npos ? d : text.find('\'', d + 8), q1 = q0 == std::string::npos ? q0 : text.find('\'', q0 + 1);
  if (q1 == std::string::npos) throw failure(path + ": the header names no type.");
  std::string const type = text.substr(q0 + 1, q1 - q0 - 1);
  unsigned char const* const data = f.data() + begin + header;
  index_t const bytes = static_cast<index_t>(f.size() - begin - header), n = t.extents.size();
  index_t const size = type.size() == 3 && type[2] >= '1' && type[2] <= '8' ? type[2] - '0' : 0;
  if (size == 0 || bytes != n * size)
    throw failure(path + ": the array (" + type + ") has " + std::to_string(bytes) + " bytes; the input has " + std::to_string(n) + " elements of type " + name(t.type) + ".");
  if (type == npy_type(t.type)) return std::memcpy(to, data, static_cast<std::size_t>(bytes)), void();
  for (index_t i = 0; i < n; ++i) {
    double v = 0;
    if (type == "<f4") v = little<float>(data + 4 * i);
    else if (type == "<f8") v = little<double>(data + 8 * i);
    else if (type == "|i1") v = little<std::int8_t>(data + i);
    else if (type == "|u1") v = data[i];
    else if (type == "<i2") v = little<std::int16_t>(data + 2 * i);
    else if (type == "<i4") v = little<std::int32_t>(data + 4 * i);
    else if (type == "<i8") v = static_cast<double>(little<std::int64_t>(data + 8 * i));
    else throw failure(path + ": arrays of type " + type + " are not supported.");
    store(path, t, to, i, v);
  }
}

void read_bmp(std::string const& path, std::vector<unsigned char> const& f, tensor const& t, pixels p, unsigned char* to) {
  if (f.size() < 54 || f[0] != 'B' || f[1] != 'M') throw failure(path + " is not a BMP image.");
  std::uint32_t const start = little<std::uint32_t>(f.data() + 10), header = little<std::uint32_t>(f.data() + 14);
  std::int64_t const width = little<std::int32_t>(f.data() + 18), stored_height = little<std::int32_t>(f.data() + 22);
  int const bits = little<std::uint16_t>(f.data() + 28);
  std::uint32_t const compression = little<std::uint32_t>(f.data() + 30);
  std::int64_t const height = stored_height < 0 ? -stored_height : stored_height;
  if (compression != 0 || (bits != 8 && bits != 24 && bits != 32)) throw failure(path + ": only BMP images of 8, 24 or 32 bits without compression are supported.");
  if (width < 1 || height < 1 || width > 65536 || height > 65536) throw failure(path + ": the image claims to be " + std::to_string(width) + " x " + std::to_string(height) + ".");
  std::int64_t const row = (width * bits / 8 + 3) / 4 * 4;
  if (static_cast<std::int64_t>(start) + row * height > static_cast<std::int64_t>(f.size())) throw failure(path + ": the image is cut off.");
  if (t.extents.rank != 4 || t.extents[0] != 1 || t.extents[1] != height || t.extents[2] != width || (t.extents[3] != 1 && t.extents[3] != 3))
    throw failure(path + ": the image is " + std::to_string(width) + " x " + std::to_string(height) + ", which is not what the model takes.");
  if (t.type != element::i8 && t.type != element::u8) throw failure(path + ": an image goes into an int8 or uint8 input only; this one is " + name(t.type) + ".");
  // In 8-bit images a pixel is an index into a palette of blue, green, red, 0; grey palettes are the identity and are not needed.
  std::size_t const palette = 14 + static_cast<std::size_t>(header);
  bool colour = false;
  if (bits == 8 && palette + 1024 <= start && start <= f.size())
    for (int i = 0; i < 256; ++i) colour = colour || f[palette + 4 * i] != i || f[palette + 4 * i + 1] != i || f[palette + 4 * i + 2] != i;
  index_t i = 0;
  for (std::int64_t y = 0; y < height; ++y) {
    unsigned char const* const line = f.data() + start + (stored_height < 0 ? y : height - 1 - y) * row;
    for (std::int64_t x = 0; x < width; ++x) {
      int b = 0, g = 0, r = 0;
      if (bits == 8) {
        b = g = r = line[x];
        if (colour) b = f[palette + 4 * line[x]], g = f[palette + 4 * line[x] + 1], r = f[palette + 4 * line[x] + 2];
      } else {
        b = line[x * bits / 8], g = line[x * bits / 8 + 1], r = line[x * bits / 8 + 2];
      }
      int const grey = b == g && g == r ? b : (77 * r + 150 * g + 29 * b + 128) >> 8;
      int const channels[3] = {r, g, b};
      for (index_t c = 0; c < t.extents[3]; ++c) {
        int const v = t.extents[3] == 1 ? grey : channels[c];
        to[i++] = static_cast<unsigned char>(p == pixels::centred && t.type == element::i8 ? v ^ 0x80 : v);
      }
    }
  }
}

}  // namespace

std::vector<unsigned char> read_file(std::string const& path) {
  std::ifstream f(path, std::ios::binary);
  if (!f) throw failure(path + " cannot be opened.");
  std::vector<unsigned char> bytes((std::istreambuf_iterator<char>(f)), std::istreambuf_iterator<char>());
  if (f.bad()) throw failure(path + " cannot be read.");
  return bytes;
}

void read_input(std::string const& path, tensor const& t, pixels p, unsigned char* to) {
  auto const f = read_file(path);
  if (ends_with(path, ".csv")) return read_csv(path, f, t, to);
  if (ends_with(path, ".npy")) return read_npy(path, f, t, to);
  if (ends_with(path, ".bmp")) return read_bmp(path, f, t, p, to);
  if (static_cast<index_t>(f.size()) != t.bytes())
    throw failure(path + " has " + std::to_string(f.size()) + " bytes; the input (" + name(t.type) + ") has " + std::to_string(t.bytes()) + ".");
  std::memcpy(to, f.data(), f.size());
}

void write_npy(std::string const& path, tensor const& t, unsigned char const* from) {
  std::string shape;
  for (int d = 0; d < t.extents.rank; ++d) shape += std::to_string(t.extents[d]) + (d + 1 < t.extents.rank || t.extents.rank == 1 ? "," : "");
  std::string header = std::string("{'descr': '") + npy_type(t.type) + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::ofstream f(path, std::ios::binary);
  char const prefix[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  f.write(prefix, 10);
  f << header;
  if (t.type == element::i4) {
    for (index_t i = 0; i < t.extents.size(); ++i) f.put(static_cast<char>(static_cast<std::int8_t>(from[i / 2] << (i % 2 == 0 ? 4 : 0)) >> 4));
  } else {
    f.write(reinterpret_cast<char const*>(from), static_cast<std::streamsize>(t.bytes()));
  }
  f.close();
  if (!f) throw failure(path + " cannot be written.");
}

}  // namespace run_tflite
