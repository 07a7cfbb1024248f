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
