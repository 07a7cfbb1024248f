// The epilogues of quern::kernels: every combination that epilogue/compiled.hpp names, for every instruction set.
#include <quern/epilogue/bodies.hpp>
#include <quern/epilogue/depthwise.hpp>

#include "emit.hpp"

namespace quern::detail {

namespace {

template <class Dst, class E>
void emit_epilogue() {
  emit(&vector_body<Dst, E>);
  if constexpr (is_compiled_depthwise<Dst, E>) {
    emit(&depthwise_row_for<Dst, E>);
    emit(&depthwise_image_for<Dst, E>);
  }
}

}  // namespace

void emit_epilogues();
void emit_epilogues() {
  emit_epilogue<std::int32_t, epilogue<>>();
  for_each_type<compiled_epilogue_reals>([](auto dst) { emit_epilogue<typename decltype(dst)::type, epilogue<to_real>>(); });
  for_each_type<compiled_epilogue_rescales>([](auto policy) {
    using E = epilogue<typename decltype(policy)::type>;
    for_each_type<compiled_epilogue_codes>([](auto dst) { emit_epilogue<typename decltype(dst)::type, E>(); });
  });
}

}  // namespace quern::detail
