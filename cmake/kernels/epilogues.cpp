// The epilogues of quern::kernels: every combination that epilogue/compiled.hpp names, for every instruction set.
#include <quern/epilogue/bodies.hpp>

#include "emit.hpp"

namespace quern::detail {

void emit_epilogues();
void emit_epilogues() {
  emit(&vector_body<std::int32_t, epilogue<>>);
  for_each_type<compiled_epilogue_reals>([](auto dst) { emit(&vector_body<typename decltype(dst)::type, epilogue<to_real>>); });
  for_each_type<rescales>([](auto policy) {
    using E = epilogue<typename decltype(policy)::type>;
    for_each_type<compiled_epilogue_codes>([](auto dst) { emit(&vector_body<typename decltype(dst)::type, E>); });
  });
}

}  // namespace quern::detail
