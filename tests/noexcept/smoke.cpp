// smoke.cpp — quern without exceptions and RTTI: it works, and a mistake goes to the handler, before anything is written.
#include <quern/quern.hpp>

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this program is to be compiled with -fno-exceptions -fno-rtti"
#endif

namespace {

int failures = 0;
void check(bool holds, char const* what) {
  if (!holds) {
    ++failures;
    std::printf("FAILED: %s\n", what);
  }
}

std::jmp_buf back;
char last_sentence[quern::error::capacity];
quern::errc last_code;

[[noreturn]] void handler(quern::error const& e) {
  std::strcpy(last_sentence, e.what());
  last_code = e.code();
  std::longjmp(back, 1);
}

constexpr quern::index_t m = 3, k = 70, n = 17;
std::uint8_t lhs[m * k];
std::int8_t rhs[k * n];
std::int32_t acc[m * n];

}  // namespace

int main() {
  for (quern::index_t i = 0; i < m * k; ++i) lhs[i] = static_cast<std::uint8_t>(i * 37);
  for (quern::index_t i = 0; i < k * n; ++i) rhs[i] = static_cast<std::int8_t>(i * 91);

  // The operations, each instruction set.
  auto const weights = quern::pack(quern::row_major<std::int8_t const>(rhs, k, n));
  for (quern::isa i : quern::all_isas) {
    if (!quern::supported(i)) continue;
    std::memset(acc, 0x55, sizeof acc);
    quern::gemm(quern::row_major<std::uint8_t const>(lhs, m, k), weights, quern::row_major(acc, m, n), {}, {.max_isa = i});
    for (quern::index_t r = 0; r < m; ++r)
      for (quern::index_t c = 0; c < n; ++c) {
        std::int32_t sum = 0;
        for (quern::index_t d = 0; d < k; ++d) sum += lhs[r * k + d] * rhs[d * n + c];
        check(acc[r * n + c] == sum, "gemm equals the plain sum");
      }
  }
  auto const p = quern::choose_params<quern::asymmetric<quern::u8>>({-1.0f, 3.0f});
  check(p.zero_point == 64, "choose_params");
  float const reals[] = {-1.0f, 0.0f, 0.5f, 3.0f, 9.0f};
  std::uint8_t codes[5];
  auto const counts = quern::quantize(quern::view(reals), p, quern::view(codes));
  check(codes[0] == 0 && codes[1] == 64 && codes[3] == 255 && codes[4] == 255 && counts.saturated == 1, "quantize");

  // Mistakes.
  check(quern::set_error_handler(handler) == nullptr, "no handler was installed before");
  volatile int caught = 0;
  if (setjmp(back) == 0) {
    std::memset(acc, 0x55, sizeof acc);
    quern::gemm(quern::row_major<std::uint8_t const>(lhs, m, k - 1), weights, quern::row_major(acc, m, n));
    check(false, "gemm with mismatched depths returned");
  } else {
    caught = caught + 1;
    check(last_code == quern::errc::shape, "the code is errc::shape");
    check(std::strstr(last_sentence, "69") != nullptr && std::strstr(last_sentence, "70") != nullptr, "the sentence names both depths");
    check(acc[0] == 0x55555555, "nothing was written");
  }
  if (setjmp(back) == 0) {
    quern::quantize(quern::view(reals), quern::params<quern::asymmetric<quern::u8>>{0.0f, 0}, quern::view(codes));
    check(false, "quantize with a scale of zero returned");
  } else {
    caught = caught + 1;
    check(last_code == quern::errc::scale, "the code is errc::scale");
  }
  check(caught == 2, "both mistakes were caught");

  // Without a handler the sentence is printed and the program aborts.
  quern::set_error_handler(nullptr);
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  std::fflush(stdout);
  pid_t const child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    quern::fail(quern::errc::argument, "the last words of ", 1, " program.");
  }
  close(ends[1]);
  char text[256] = {};
  ssize_t const got = read(ends[0], text, sizeof text - 1);
  int status = 0;
  waitpid(child, &status, 0);
  check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "an error without a handler aborts");
  check(got > 0 && std::strstr(text, "the last words of 1 program.") != nullptr, "and its sentence is printed first");

  std::printf("without exceptions and RTTI: %d failed\n", failures);
  return failures == 0 ? 0 : 1;
}
