// executor.hpp — how an operation runs its tasks: serially, on quern's thread_pool, or on whatever pool the caller has.
//
// An executor is any callable `executor(index_t tasks, task)` that calls task(i) once for every i in [0, tasks), in any order
// and on any threads, and returns when all of them have returned. Tasks are independent and write disjoint memory, so the
// executor never changes a result. Operations take an executor_ref in their options: a plain pair of pointers, so that
// options stay aggregates and no operation is instantiated once more for every pool.
//
//     gemm(lhs, rhs, dst, epilogue, {.executor = pool});
//
// The pool itself is dispatch/thread_pool.hpp: this header stays cheap.
#pragma once

#include "error.hpp"

#include <type_traits>

namespace quern {

/// A task without its type: a function of one index. Non-owning; valid while the callable it was made from lives.
struct task_ref {
  void (*call)(void const* context, index_t i) = nullptr;
  void const* context = nullptr;

  QUERN_INLINE void operator()(index_t i) const { call(context, i); }
};

/// Any callable that runs `task(i)` for every i in [0, tasks), each once.
template <class E>
concept executor = requires(E& e, index_t tasks, task_ref task) { e(tasks, task); };

/// Runs the tasks one after the other on the calling thread.
struct serial {
  static constexpr int threads() noexcept { return 1; }
  template <class F>
  QUERN_INLINE void operator()(index_t tasks, F&& task) const {
    for (index_t i = 0; i < tasks; ++i) task(i);
  }
};

/// Any executor without its type; serial by default. Non-owning: the executor must outlive the call it is passed to.
///
/// `threads` says how many tasks run at once as far as that is known: the executor's own threads() where it has that
/// function, 1 for serial, 0 (unknown: the operation splits by shape alone) otherwise.
struct executor_ref {
  void (*run)(void* object, index_t tasks, task_ref task) = nullptr;  ///< null: serial
  void* object = nullptr;
  int threads = 1;

  executor_ref() = default;
  template <class E>
    requires(executor<std::remove_reference_t<E>> && !std::is_same_v<std::remove_cvref_t<E>, executor_ref>)
  QUERN_INLINE executor_ref(E&& e) noexcept {
    using callable = std::remove_reference_t<E>;
    if constexpr (!std::is_same_v<std::remove_cv_t<callable>, serial>) {
      object = const_cast<void*>(static_cast<void const*>(__builtin_addressof(e)));
      run = [](void* o, index_t tasks, task_ref task) { (*static_cast<callable*>(o))(tasks, task); };
      if constexpr (requires { static_cast<int>(e.threads()); })
        threads = static_cast<int>(e.threads());
      else
        threads = 0;
    }
  }

  QUERN_INLINE bool is_serial() const noexcept { return run == nullptr; }

  /// task(0) .. task(tasks - 1), each once. A single task never leaves the calling thread.
  template <class F>
  QUERN_INLINE void operator()(index_t tasks, F const& task) const {
    if (run == nullptr || tasks <= 1) {
      for (index_t i = 0; i < tasks; ++i) task(i);
    } else {
      run(object, tasks, {[](void const* f, index_t i) { (*static_cast<F const*>(f))(i); }, __builtin_addressof(task)});
    }
  }
};

}  // namespace quern
