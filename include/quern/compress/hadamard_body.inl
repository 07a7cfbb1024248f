// hadamard_body.inl — the butterflies of hadamard.hpp; included once per instruction set, in its namespace, with
// QUERN_DETAIL_HADAMARD_BYTES set to the width of its registers.
//
// The levels inside of a register are one pass; from there on two levels are done in each pass over memory.

constexpr int hadamard_lanes = QUERN_DETAIL_HADAMARD_BYTES / 4;
typedef std::int32_t hadamard_mask __attribute__((vector_size(QUERN_DETAIL_HADAMARD_BYTES)));

/// x <- H (scale x) in place, n a power of two of at least 16, T float or uint32 (which wraps where int32 would be undefined; scale 1).
template <class T>
inline void hadamard_transform(T* x, index_t n, T scale) {
  typedef T vector __attribute__((vector_size(QUERN_DETAIL_HADAMARD_BYTES)));
  hadamard_mask lane;
  for (int l = 0; l < hadamard_lanes; ++l) lane[l] = l;
  for (index_t i = 0; i < n; i += hadamard_lanes) {
    vector v, other;
    __builtin_memcpy(&v, x + i, sizeof v);
    if (static_cast<T>(0.5f) != T{0}) {  // floats; the product must be rounded before it is added
      v = v * scale;
#if QUERN_X86_64
      asm("" : "+x"(v));
#elif QUERN_AARCH64
      asm("" : "+w"(v));
#else
      asm("" : "+m"(v));
#endif
    }
    // Partners change places; the upper one of a pair keeps the difference.
#if QUERN_DETAIL_HADAMARD_BYTES == 16
    other = __builtin_shufflevector(v, v, 1, 0, 3, 2);
    v = (lane & 1) != 0 ? other - v : v + other;
    other = __builtin_shufflevector(v, v, 2, 3, 0, 1);
    v = (lane & 2) != 0 ? other - v : v + other;
#elif QUERN_DETAIL_HADAMARD_BYTES == 32
    other = __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
    v = (lane & 1) != 0 ? other - v : v + other;
    other = __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    v = (lane & 2) != 0 ? other - v : v + other;
    other = __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v = (lane & 4) != 0 ? other - v : v + other;
#else
    other = __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    v = (lane & 1) != 0 ? other - v : v + other;
    other = __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    v = (lane & 2) != 0 ? other - v : v + other;
    other = __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    v = (lane & 4) != 0 ? other - v : v + other;
    other = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v = (lane & 8) != 0 ? other - v : v + other;
#endif
    __builtin_memcpy(x + i, &v, sizeof v);
  }
  index_t h = hadamard_lanes;
  for (; 4 * h <= n; h *= 4)
    for (index_t base = 0; base < n; base += 4 * h)
      for (index_t i = base; i < base + h; i += hadamard_lanes) {
        vector a, b, c, d;
        __builtin_memcpy(&a, x + i, sizeof a);
        __builtin_memcpy(&b, x + i + h, sizeof b);
        __builtin_memcpy(&c, x + i + 2 * h, sizeof c);
        __builtin_memcpy(&d, x + i + 3 * h, sizeof d);
        vector const ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        a = ab + cd, b = a_b + c_d, c = ab - cd, d = a_b - c_d;
        __builtin_memcpy(x + i, &a, sizeof a);
        __builtin_memcpy(x + i + h, &b, sizeof b);
        __builtin_memcpy(x + i + 2 * h, &c, sizeof c);
        __builtin_memcpy(x + i + 3 * h, &d, sizeof d);
      }
  for (; 2 * h <= n; h *= 2)
    for (index_t base = 0; base < n; base += 2 * h)
      for (index_t i = base; i < base + h; i += hadamard_lanes) {
        vector a, b;
        __builtin_memcpy(&a, x + i, sizeof a);
        __builtin_memcpy(&b, x + i + h, sizeof b);
        vector const sum = a + b, difference = a - b;
        __builtin_memcpy(x + i, &sum, sizeof sum);
        __builtin_memcpy(x + i + h, &difference, sizeof difference);
      }
}
