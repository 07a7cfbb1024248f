// params_body.inl — what the scales and zero points of a tensor have in common. Included once per instruction set; see params_kernels.hpp.

namespace inner {

/// The least and the greatest of some integers.
struct int_range {
  i32s least, most;
  QUERN_INLINE_BODY explicit int_range(i32s x) : least(x), most(x) {}
  QUERN_INLINE_BODY void add(i32s x) { least = min(least, x), most = max(most, x); }
  QUERN_INLINE_BODY bool within(std::int32_t lo, std::int32_t hi) const {
    return !any(mask_or(less(least, broadcast(lo)), less(broadcast(hi), most)));
  }
};

/// The first `lanes` of n numbers; of fewer all, and then the first one.
template <class T>
QUERN_INLINE_BODY auto load_up_to(T const* p, index_t n) {
  if (n >= lanes) return load(p);
  return select(first_lanes(n), load_first(p, n), broadcast(*p));
}
/// Of n >= 1 zero points; null: they are 0.
QUERN_INLINE_BODY int_range range_of_zeros(std::int32_t const* zeros, index_t n) {
  if (zeros == nullptr) return int_range(broadcast(std::int32_t{0}));
  int_range all(load_up_to(zeros, n));
  for (index_t j = lanes; j < n; j += lanes) all.add(load(zeros + (j + lanes <= n ? j : n - lanes)));
  return all;
}
/// Whether the bits of n >= 1 scales are least .. most. An addition makes these the lowest integers: one comparison is enough.
QUERN_INLINE_BODY bool scale_bits_within(float const* scales, index_t n, std::int32_t least, std::int32_t most) {
  i32s const moved = broadcast(static_cast<std::int32_t>(0x80000000u - static_cast<std::uint32_t>(least)));
  i32s worst = add(as_i32(load_up_to(scales, n)), moved), other = worst;
  index_t j = lanes;
  for (; j + 2 * lanes <= n; j += 2 * lanes) {
    worst = max(worst, add(as_i32(load(scales + j)), moved));
    other = max(other, add(as_i32(load(scales + j + lanes)), moved));
  }
  for (; j < n; j += lanes) worst = max(worst, add(as_i32(load(scales + (j + lanes <= n ? j : n - lanes))), moved));
  return !any(less(broadcast(static_cast<std::int32_t>(0x80000000u + static_cast<std::uint32_t>(most - least))), max(worst, other)));
}
/// Whether check_params would find nothing in n >= 1 of them. Scales that are positive and finite are 1 to 0x7f7fffff.
QUERN_INLINE_BODY bool valid_params(float const* scales, std::int32_t const* zeros, index_t n, quern::detail::zero_point_limits limits) {
  return scale_bits_within(scales, n, quern::detail::least_scale_bits, quern::detail::most_scale_bits) &&
         range_of_zeros(zeros, n).within(limits.min, limits.max);
}

}  // namespace inner
