// emit.hpp — makes the compiler emit functions that this file does not call.
#pragma once

namespace quern::detail {

template <class F>
void emit(F* f) {
  F* volatile kept = f;
  (void)kept;
}

}  // namespace quern::detail

/// A function template's instance of every instruction set with a vector vocabulary.
#define QUERN_DETAIL_EMIT(...) \
  emit(&sse41::__VA_ARGS__);   \
  emit(&avx2::__VA_ARGS__);    \
  emit(&avx512bw::__VA_ARGS__);
