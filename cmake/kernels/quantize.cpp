// quantize and dequantize of quern::kernels: every combination that convert/compiled.hpp names, for every instruction set.
#include <quern/convert/convert.hpp>

#include "emit.hpp"

namespace quern::detail {
namespace {

template <class Real, class Code>
void emit_pair() {
#if QUERN_X86_64
  if constexpr (is_compiled_pair<Real, Code>) {
    for_each_type<compiled_forms>([](auto form) {
      for_each_type<compiled_roundings>([](auto rounding) {
        using Form = typename decltype(form)::type;
        using Rounding = typename decltype(rounding)::type;
        QUERN_DETAIL_EMIT(quantize_rows<Form, Real, Code, Rounding>)
        QUERN_DETAIL_EMIT(quantize_columns<Form, Real, Code, Rounding>)
      });
    });
    QUERN_DETAIL_EMIT(dequantize_rows<Code, Real>)
    QUERN_DETAIL_EMIT(dequantize_columns<Code, Real>)
  }
#endif
}

}  // namespace

void emit_quantize();
void emit_quantize() {
  for_each_type<compiled_reals>([](auto real) {
    using Real = typename decltype(real)::type;
    for_each_type<compiled_codes>([](auto code) { emit_pair<Real, typename decltype(code)::type>(); });
    for_each_type<compiled_wide_codes>([](auto code) { emit_pair<Real, typename decltype(code)::type>(); });
  });
}

}  // namespace quern::detail
