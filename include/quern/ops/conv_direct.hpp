// conv_direct.hpp — the loops around kernel/conv_direct.hpp's tiles: bands of padded image rows, then panels, lines and tiles.
//
// A band is the rows of the image that some lines of output read, with zero points around it and signs made what the kernel wants.
// It is copied once. (1 x 1 without stride is a product whose lhs is the image: gemm's.) Knows bytes and integers, no types.
#pragma once

#include "../core/geometry.hpp"
#include "../dispatch/gemm_driver.hpp"
#include "../kernel/conv_direct.hpp"

namespace quern {
namespace detail {
inline namespace QUERN_ABI {

struct direct_conv {
  static constexpr int most_runs = 128;
  static constexpr std::int32_t nothing[32] = {};
  // The image of one group; all strides and sizes below in bytes of the source, 1 a code.
  unsigned char const* src = nullptr;
  index_t n_stride = 0, h_stride = 0, w_stride = 0, channels = 0;
  axis h, w;
  int kind = 0;               ///< 0 u8, 1 s8
  std::int32_t zero_point = 0;
  index_t lines = 0, width = 0;                  ///< lines of output positions
  index_t first_line = 0, image_lines = 0;       ///< of this product; lines an image
  // Weights' sums by tap and column, `tap_columns` to a tap: taps in the padding are left out, and what they add is computed. Null: not.
  std::int32_t const* tap_sums = nullptr;
  index_t tap_columns = 0;
  index_t left_taps = 0, right_taps = 0;         ///< of a row of taps, outside of the image at a line's first and last position
  // The band, in bytes of the kernel's codes.
  kernel::direct_tiles tiles;
  kernel::copy_function copy = nullptr;
  index_t code = 1, row = 0, runs = 0, steps = 0, pitch = 0, line_rows = 0, reach = 0, band_lines = 0;
  index_t offsets[most_runs] = {};
  // Tasks.
  index_t down = 1, across = 1, lines_each = 0, panels_each = 0;
  index_t band_bytes = 0, task_bytes = 0;

  bool possible() const noexcept { return tiles.count > 0; }
  index_t tasks() const noexcept { return down * across; }
  int widest() const noexcept {
    int rows = 0;
    for (int i = 0; i < tiles.count; ++i) rows = tiles.tiles[i].rows > rows ? tiles.tiles[i].rows : rows;
    return rows;
  }

  /// Looks whether `p`, the product of win's windows over an image of `codes` channels, can go this way. `run`: codes of a row of
  /// taps as packed. `pixel`: bytes from one to the next.
  static direct_conv of(gemm_problem const& p, kernel_choice const& kernels, executor_ref const& executor, window const& win, index_t codes,
                        index_t run, index_t pixel) noexcept {
    direct_conv d;
    bool const plain = kernels.second == nullptr && !kernels.first->tiled && !p.nibbles && !p.sums && p.segment == 0 && p.kind != 2;
    bool const flat = win.d.kernel == 1 && win.d.in == 1 && win.d.out == 1 && win.d.before == 0;  // lines of one plane an image
    if (!plain || !flat || p.m < 1 || win.h.before < 0 || win.w.before < 0) return d;
    auto const found = kernel::direct_for(*kernels.first);
    if (found.count == 0) return d;
    d.tiles = found;
    index_t const most = d.widest();
    d.h = win.h;
    d.w = win.w;
    d.width = win.w.out;
    d.lines = p.m / win.w.out;
    d.image_lines = win.d.out * win.h.out;
    d.w_stride = pixel;
    bool const whole_rows = d.w.dilation == 1 || d.w.kernel == 1;
    d.runs = whole_rows ? d.h.kernel : d.h.kernel * d.w.kernel;
    index_t const length = whole_rows ? run : codes;
    if (whole_rows && codes % 4 == 0) {  // a tap is whole steps
      index_t const right = (d.width - 1) * d.w.stride - d.w.before + d.w.reach() - d.w.in;
      d.left_taps = d.w.before;
      d.right_taps = right > 0 ? right : 0;
      if (d.left_taps + d.right_taps > d.w.kernel) d.left_taps = d.right_taps = 0;
    }
    // Fewer positions a line than half a tile waste registers; a run must end where a row of packed weights does.
    if (2 * d.width < most || d.runs > most_runs || (d.runs > 1 && length % 4 != 0)) return d.tiles = {}, d;
    d.channels = codes;
    d.kind = p.kind;
    d.copy = kernels.first->copy;
    d.code = kernels.first->form == kernel::lhs_form::words ? 2 : 1;
    d.steps = (length + 3) / 4;
    d.row = d.w.stride * codes * d.code;
    d.reach = d.h.reach();
    d.line_rows = d.h.stride < d.reach ? d.h.stride : d.reach;
    // A power of two would put all rows into the same sets of L1.
    d.pitch = round_up(((d.width - 1) * d.w.stride + d.w.reach()) * codes * d.code, 64);
    if (d.pitch % 1024 == 0) d.pitch += 64;
    for (index_t i = 0; i < d.runs; ++i) {
      index_t const ky = whole_rows ? i : i / d.w.kernel, kx = whole_rows ? 0 : i % d.w.kernel;
      d.offsets[i] = ky * d.h.dilation * d.pitch + kx * d.w.dilation * codes * d.code;
    }
    index_t const panels = (p.n + 15) / 16;
    d.lines_each = d.lines;
    d.panels_each = panels;
    if (!executor.is_serial() && p.m * panels * p.k >= 64 * 1024) {
      index_t const wanted = 3 * (executor.threads > 0 ? executor.threads : 8);
      d.down = d.lines < wanted ? d.lines : wanted;
      d.across = d.down < wanted ? (wanted + d.down - 1) / d.down : 1;
      if (d.across > (panels + 1) / 2) d.across = (panels + 1) / 2;
      d.lines_each = (d.lines + d.down - 1) / d.down;
      d.panels_each = round_up((panels + d.across - 1) / d.across, 2);
      d.down = (d.lines + d.lines_each - 1) / d.lines_each;
      d.across = (panels + d.panels_each - 1) / d.panels_each;
    }
    // Where all weights fit beside it a band stays in L1; else two panels do, and the band comes from L2.
    index_t const budget = d.panels_each * d.steps * d.runs * row_bytes <= 20 * 1024 ? 12 * 1024 : half_of_l2 / 2;
    index_t const fit = (budget / d.pitch - (d.reach - d.line_rows)) / d.line_rows;
    d.band_lines = fit < 1 ? 1 : fit > d.lines_each ? d.lines_each : fit;
    // The last tile of a line may be wider than what is left of it, and a run end behind its last code.
    index_t const slack = round_up(most * d.row + 128, 64);
    d.band_bytes = ((d.band_lines - 1) * d.line_rows + d.reach) * d.pitch + slack;
    d.task_bytes = d.band_bytes + round_up(most * 32 * 4, 64) + 3 * 128;
    return d;
  }

  void fill(unsigned char* to, index_t codes) const noexcept {
    if (code == 1) {
      __builtin_memset(to, (zero_point ^ (kind == 1 ? 0x80 : 0)) & 255, static_cast<std::size_t>(codes));
    } else {
      auto const word = static_cast<std::int16_t>(zero_point);
      for (index_t i = 0; i < codes; ++i) __builtin_memcpy(to + 2 * i, &word, 2);
    }
  }

  /// The rows that `count` lines from `line` read; all of one image.
  void copy_band(index_t line, index_t count, unsigned char* band) const {
    index_t const image = line / image_lines, y0 = line % image_lines;
    index_t const across_all = (width - 1) * w.stride + w.reach(), before = w.before < across_all ? w.before : across_all;
    index_t const there = w.in < across_all - before ? w.in : across_all - before, behind = across_all - before - there;
    for (index_t i = 0; i < (count - 1) * line_rows + reach; ++i) {
      index_t const y = h.stride <= reach ? y0 * h.stride - h.before + i : (y0 + i / reach) * h.stride - h.before + i % reach;
      unsigned char* to = band + i * pitch;
      if (y < 0 || y >= h.in) {
        fill(to, across_all * channels);
        continue;
      }
      unsigned char const* from = src + image * n_stride + y * h_stride;
      // The copy writes up to 63 bytes more than it was asked for: left to right, top to bottom.
      fill(to, before * channels);
      to += before * channels * code;
      if (w_stride == channels) {
        copy({from, 0, 1, there * channels, kind}, there * channels, to, nullptr);
      } else {
        for (index_t x = 0; x < there; ++x)
          copy({from + x * w_stride, 0, 1, channels, kind}, channels, to + x * channels * code, nullptr);
      }
      fill(to + there * channels * code, behind * channels);
    }
  }

  /// What accumulators of columns col to col + count start from where rows of taps [0, top) and [bottom, h.kernel) are left out, and
  /// what the taps left out at the line's ends add.
  void init_line(std::int32_t const* init, index_t col, index_t count, index_t top, index_t bottom, std::int32_t* line, std::int32_t* first,
                 std::int32_t* last) const noexcept {
    auto const zero = static_cast<std::uint32_t>(zero_point + (code == 1 && kind == 1 ? 128 : 0));
    for (index_t c = 0; c < 32; ++c) line[c] = c < count ? init[col + c] : 0, first[c] = last[c] = 0;
    for (index_t ky = 0; ky < h.kernel; ++ky)
      for (index_t kx = 0; kx < w.kernel; ++kx) {
        bool const out = ky < top || ky >= bottom;
        std::int32_t* const to = out ? line : kx < left_taps ? first : kx >= w.kernel - right_taps ? last : nullptr;
        if (to == nullptr) continue;
        std::int32_t const* const sums = tap_sums + (ky * w.kernel + kx) * tap_columns + col;
        for (index_t c = 0; c < count; ++c) to[c] = static_cast<std::int32_t>(static_cast<std::uint32_t>(to[c]) + zero * static_cast<std::uint32_t>(sums[c]));
      }
  }

  void run_task(gemm_problem const& p, index_t task, unsigned char* memory) const {
    unsigned char* const band = memory;
    auto* const own_init = reinterpret_cast<std::int32_t*>(memory + band_bytes);  // of a line, of its first and its last position
    auto* const acc = own_init + 96;
    index_t const begin = task / across * lines_each, end = begin + lines_each < lines ? begin + lines_each : lines;
    index_t const panel0 = task % across * panels_each, all = (p.n + 15) / 16, panel1 = panel0 + panels_each < all ? panel0 + panels_each : all;
    std::int32_t const* const init = p.init[code == 2 ? 1 : 0];
    index_t const most = widest();
    for (index_t line = begin; line < end;) {
      // Lines that share a band are of one image.
      index_t const at = first_line + line, left = image_lines - at % image_lines;
      index_t count = end - line < band_lines ? end - line : band_lines;
      if (count > left) count = left;
      copy_band(at, count, band);
      for (index_t panel = panel0; panel < panel1;) {
        index_t panels = panel1 - panel >= 2 ? 2 : 1;
        if (tiles.find(panels, 1) == nullptr) panels = 1;
        index_t const col = panel * 16, columns = p.n - col < panels * 16 ? p.n - col : panels * 16, ld = panels * 16;
        unsigned char const* const rhs = p.rhs + panel * p.panel_bytes;
        index_t known_top = -1, known_bottom = -1;
        for (index_t l = 0; l < count; ++l) {
          unsigned char const* const from = band + l * line_rows * pitch;
          std::int32_t const* start = init + col;
          index_t top = 0, bottom = h.kernel;  // rows of taps inside of the image
          if (tap_sums != nullptr) {
            index_t const y = (at % image_lines + l) * h.stride - h.before;
            while (top < h.kernel && y + top * h.dilation < 0) ++top;
            while (bottom > top && y + (bottom - 1) * h.dilation >= h.in) --bottom;
            if (top != known_top || bottom != known_bottom) init_line(init, col, columns, top, bottom, own_init, own_init + 32, own_init + 64);
            known_top = top, known_bottom = bottom;
            start = own_init;
          }
          index_t const first_run = top * (runs / h.kernel), live_runs = (bottom - top) * (runs / h.kernel);
          for (index_t x = 0; x < width;) {
            // As many tiles as needed, all of about the same size.
            index_t const rest = width - x, wanted = (rest + (rest + most - 1) / most - 1) / ((rest + most - 1) / most);
            kernel::direct_tile const& t = *tiles.find(panels, wanted);
            index_t const live = rest < t.rows ? rest : t.rows, r = (line + l) * width + x;
            kernel::tile_job job{.lhs = from + x * row, .lhs_stride = row, .rhs = rhs + first_run * steps * 64, .panel_bytes = p.panel_bytes, .steps = steps, .init = start, .acc = acc, .ld = ld};
            bool const whole = live == t.rows && columns == ld, direct = whole && p.direct != nullptr;
            // Tiles of one panel finish in registers only where k is short: AVX2 had 127 against 120 GOPS at 7 x 7 x 3, 131 against 161
            // at 3 x 3 x 64, where 8 bytes a position come too seldom.
            bool const scaled = whole && p.scaled && (panels == 2 || runs * steps <= 64);
            if (direct) {
              job.acc = p.direct + r * p.direct_ld + col;
              job.ld = p.direct_ld;
            }
            if (scaled) {
              job.scaling = &p.scaling;
              job.scales = p.scales + col;
              job.dst = p.scaled_dst + r * p.scaling.stride + col;
            }
            bool const first = x == 0 && left_taps > 0, last = x + t.rows == width && right_taps > 0;
            if (tap_sums != nullptr && t.edges != nullptr && (first || last))
              t.edges(job, offsets + first_run, live_runs,
                      {.first_steps = first ? left_taps * channels / 4 : 0, .last_steps = last ? right_taps * channels / 4 : 0,
                       .first_init = first ? own_init + 32 : nothing, .last_init = last ? own_init + 64 : nothing});
            else
              t.run(job, offsets + first_run, live_runs);
            if (!direct && !scaled)
              p.finish(p.context,
                       {.acc = acc, .ld = ld, .init = nullptr, .row = r, .col = col, .rows = live, .cols = columns, .sums = nullptr, .lhs_offset = 0},
                       nullptr, 0);
            x += live;
          }
        }
        panel += panels;
      }
      line += count;
    }
  }

  /// Runs it. `workspace`: tasks() * task_bytes, or null for the threads' own.
  void run(gemm_problem const& p, executor_ref const& executor, unsigned char* workspace) const {
    executor(tasks(), [&](index_t i) {
      if (workspace != nullptr) return run_task(p, i, workspace + i * task_bytes);
      scratch const memory(task_bytes);
      run_task(p, i, memory.data());
    });
  }
};

}  // inline namespace QUERN_ABI
}  // namespace detail
}  // namespace quern
