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
QUERN_INLINE i32s bits_of_lanes(f32s x) { return as_i32(x); }
QUERN_INLINE i32s bits_of_lanes(i32s x) { return x; }
/// Of n >= 1 numbers, as integers.
template <class T>
QUERN_INLINE_BODY int_range range_of_bits(T const* p, index_t n) {
  int_range all(bits_of_lanes(load_up_to(p, n)));
  index_t j = lanes;
  for (; j + lanes <= n; j += lanes) all.add(bits_of_lanes(load(p + j)));
  if (j < n) all.add(bits_of_lanes(load(p + n - lanes)));
  return all;
}

/// Of n >= 1 zero points; null: they are 0.
QUERN_INLINE_BODY int_range range_of_zeros(std::int32_t const* zeros, index_t n) {
  return zeros == nullptr ? int_range(broadcast(std::int32_t{0})) : range_of_bits(zeros, n);
}
/// Of n >= 1 scales: positive and finite ones are 1 to 0x7f7fffff.
QUERN_INLINE_BODY int_range range_of_scales(float const* scales, index_t n) { return range_of_bits(scales, n); }
/// Whether check_params would find nothing in n >= 1 of them.
QUERN_INLINE_BODY bool valid_params(float const* scales, std::int32_t const* zeros, index_t n, quern::detail::zero_point_limits limits) {
  return range_of_scales(scales, n).within(quern::detail::least_scale_bits, quern::detail::most_scale_bits) &&
         range_of_zeros(zeros, n).within(limits.min, limits.max);
}

}  // namespace inner
