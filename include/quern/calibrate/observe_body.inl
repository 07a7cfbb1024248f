// observe_body.inl — the two loops that read every observed value; included once per instruction set, in its namespace, with
// QUERN_DETAIL_OBSERVE_BYTES set to the width of its registers.
//
// Written on GCC's vector types, 16 floats a step in as many registers as they take. Element i adds to lane i mod 16 and the lanes
// are summed in one fixed order, so the bits are the same wherever it runs. Nothing depends on contraction: the product of two
// floats is exact in double.

constexpr int observe_lanes = QUERN_DETAIL_OBSERVE_BYTES / 4, observe_steps = 16 / observe_lanes;
typedef float observe_f32 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));
typedef std::int32_t observe_i32 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));
typedef std::int64_t observe_i64 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));
typedef float observe_f32_half __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES / 2)));
typedef double observe_f64 __attribute__((vector_size(QUERN_DETAIL_OBSERVE_BYTES)));

/// Extremes and moments of n floats, n a multiple of 16. False when one of them is not finite; `out` then means nothing.
inline bool observe_finite(float const* data, index_t n, quern::calibrate::detail::block_moments& out) {
  observe_f32 least[observe_steps], most[observe_steps];
  observe_i32 zeros[observe_steps] = {}, largest[observe_steps] = {};
  observe_f64 sum[2 * observe_steps] = {}, squares[2 * observe_steps] = {};
  for (int s = 0; s < observe_steps; ++s) least[s] = most[s] = data[0] - observe_f32{};
  for (index_t i = 0; i < n; i += 16) {
#pragma GCC unroll 4
    for (int s = 0; s < observe_steps; ++s) {
      float const* const at = data + i + s * observe_lanes;
      observe_f32 v;
      __builtin_memcpy(&v, at, sizeof v);
      observe_i32 const magnitude = (observe_i32)v & 0x7fffffff;
      largest[s] = magnitude > largest[s] ? magnitude : largest[s];
      zeros[s] -= magnitude == 0;
      least[s] = v < least[s] ? v : least[s];
      most[s] = v > most[s] ? v : most[s];
      observe_f32_half half[2];
      __builtin_memcpy(half, at, sizeof half);
      observe_f64 const a = __builtin_convertvector(half[0], observe_f64), b = __builtin_convertvector(half[1], observe_f64);
      sum[2 * s] += a;
      sum[2 * s + 1] += b;
      squares[2 * s] += a * a;
      squares[2 * s + 1] += b * b;
    }
  }
  std::int32_t top = 0;
  double lane_sum[16], lane_squares[16];
  __builtin_memcpy(lane_sum, sum, sizeof lane_sum);
  __builtin_memcpy(lane_squares, squares, sizeof lane_squares);
  for (int s = 0; s < observe_steps; ++s)
    for (int l = 0; l < observe_lanes; ++l) {
      top = largest[s][l] > top ? largest[s][l] : top;
      out.least = least[s][l] < out.least ? least[s][l] : out.least;
      out.most = most[s][l] > out.most ? most[s][l] : out.most;
      out.zeros += zeros[s][l];
    }
  out.finite += n;
  for (int half = 8; half >= 1; half /= 2)
    for (int l = 0; l < half; ++l) lane_sum[l] += lane_sum[l + half], lane_squares[l] += lane_squares[l + half];
  out.sum += lane_sum[0];
  out.squares += lane_squares[0];
  return top < 0x7f800000;
}

/// Counts n finite floats, n a multiple of 16, into two tables of `2 * half` bins: bin of x is trunc(|x| * to_bins), mirrored for
/// x < 0. Neighbours count in different tables, so that no increment waits for the one before it.
inline void observe_bins(float const* data, index_t n, float to_bins, std::int32_t half, std::uint16_t* counts) {
  // The even lanes count in the first table, the odd ones in the second. One half of `offset` in each 64-bit pair.
  std::int64_t const pair = (static_cast<std::int64_t>(3 * half) << 32) | static_cast<std::uint32_t>(half);
  observe_i64 const offset = pair + observe_i64{};
  for (index_t i = 0; i < n; i += 16) {
    alignas(64) std::uint64_t at[8];
#pragma GCC unroll 4
    for (int s = 0; s < observe_steps; ++s) {
      observe_f32 v;
      __builtin_memcpy(&v, data + i + s * observe_lanes, sizeof v);
      observe_f32 const magnitude = (observe_f32)((observe_i32)v & 0x7fffffff) * to_bins;
      observe_i32 const bin =
          (__builtin_convertvector(magnitude, observe_i32) ^ (observe_i32)(v < 0.0f)) + (observe_i32)offset;
      __builtin_memcpy(at + s * (observe_lanes / 2), &bin, sizeof bin);
    }
    asm("" : "+m"(at));  // through memory: a load and a shift give two indices, extracting a lane takes three instructions
#pragma GCC unroll 8
    for (int l = 0; l < 8; ++l) {
      ++counts[static_cast<std::uint32_t>(at[l])];
      ++counts[at[l] >> 32];
    }
  }
}
