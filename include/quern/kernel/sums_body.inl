// sums_body.inl — loops of sums.hpp on the vectors of one instruction set; included once for each, in its namespace.

template <class T>
QUERN_NOINLINE void add_codes(T const* codes, std::int32_t* sums, index_t n) noexcept {
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) store(sums + i, add(load(static_cast<std::int32_t const*>(sums + i)), load(codes + i)));
  for (; i < n; ++i) sums[i] = wrap32(std::int64_t{sums[i]} + codes[i]);
}

/// Four sums at once: an addition waits for the one before.
template <class T>
QUERN_NOINLINE std::int32_t sum_line(T const* codes, index_t n) noexcept {
  i32s a = broadcast(0), b = a, c = a, d = a;
  index_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = add(a, load(codes + i)), b = add(b, load(codes + i + lanes));
    c = add(c, load(codes + i + 2 * lanes)), d = add(d, load(codes + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a = add(a, load(codes + i));
  std::int32_t each[lanes];
  store(each, add(add(a, b), add(c, d)));
  std::int64_t sum = 0;
  for (std::int32_t v : each) sum += v;
  for (; i < n; ++i) sum += codes[i];
  return wrap32(sum);
}

/// dst[i] = (sum of weights[k] * from[k][i], + 1/2, ties away) / 2^20.
template <class T>
QUERN_NOINLINE void blend_line(T const* const (&from)[4], std::int32_t const (&weights)[4], T* dst, index_t n) noexcept {
  i32s const w0 = broadcast(weights[0]), w1 = broadcast(weights[1]), w2 = broadcast(weights[2]), w3 = broadcast(weights[3]), half = broadcast(1 << 19);
  for (index_t i = 0;;) {
    i32s const sum = add(add(mul_low(load(from[0] + i), w0), mul_low(load(from[1] + i), w1)), add(mul_low(load(from[2] + i), w2), mul_low(load(from[3] + i), w3)));
    store(dst + i, shift_right(add(add(sum, half), shift_right(sum, 31)), 20));
    i += lanes;
    if (i >= n) return;
    if (i > n - lanes) i = n - lanes;  // the last codes again
  }
}

/// sums[i] += a[i] * b[i].
QUERN_NOINLINE inline void add_products(std::int16_t const* a, std::int16_t const* b, std::int32_t* sums, index_t n) noexcept {
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) store(sums + i, add(load(static_cast<std::int32_t const*>(sums + i)), mul_low(load(a + i), load(b + i))));
  for (; i < n; ++i) sums[i] = wrap32(std::int64_t{sums[i]} + std::int64_t{a[i]} * b[i]);
}
