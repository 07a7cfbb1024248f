// requantize of quern::kernels: every combination that convert/compiled.hpp names, for every instruction set.
#include <quern/convert/convert.hpp>

#include "emit.hpp"

namespace quern::detail {
namespace {

template <class P, class Src, class Dst>
void emit_requantize() {
#if QUERN_X86_64
  QUERN_DETAIL_EMIT(requantize_rows<P, Src, Dst>)
  QUERN_DETAIL_EMIT(requantize_columns<P, Src, Dst>)
  if constexpr (is_float_ratio<P>) {
    QUERN_DETAIL_EMIT(requantize_ratios<P, Src, Dst>)
  }
#endif
}

}  // namespace

void emit_requantize();
void emit_requantize() {
  for_each_type<compiled_rescales>([](auto policy) {
    using P = typename decltype(policy)::type;
    for_each_type<compiled_codes>([](auto to) {
      using Dst = typename decltype(to)::type;
      emit_requantize<P, std::int32_t, Dst>();
      for_each_type<compiled_codes>([](auto from) { emit_requantize<P, typename decltype(from)::type, Dst>(); });
    });
  });
}

}  // namespace quern::detail
