// thread_pool.hpp — a small persistent pool of threads, an executor like any other.
//
// Threads start with the first call that has more than one task and stay. Between calls they spin for some microseconds,
// which is what back-to-back layers of a network need, and then sleep. A call publishes one job; every thread, the caller
// included, takes the next index until none is left. There is no queue and no allocation per call.
//
// Not part of the light headers: <thread> and <condition_variable> cost more to compile than a kernel.
#pragma once

#include "executor.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#if QUERN_EXCEPTIONS
#include <exception>
#endif

namespace quern {
namespace detail {
inline namespace QUERN_ABI {
// Whether this thread is running a task of some pool: a nested call runs on the spot, since waiting for threads that wait
// for us would never end.
inline thread_local bool inside_pool_task = false;

QUERN_INLINE void spin_pause() noexcept {
#if QUERN_X86_64
  asm volatile("pause");
#elif QUERN_AARCH64
  asm volatile("yield");
#endif
}
}  // inline namespace QUERN_ABI
}  // namespace detail

inline namespace QUERN_ABI {

/// A persistent pool; `threads()` includes the calling thread.
///
/// @errors  An exception of a task reaches the caller of operator() (the first one, when several throw; tasks that have not
///          started by then are skipped), and the pool stays usable. Where the system refuses threads, fewer run.
/// @threads operator() may be called from several threads: one of them gets the workers, the others run their own tasks
///          serially meanwhile. Nested calls run serially.
class thread_pool {
 public:
  /// A pool of `threads` threads, the caller's included; 0: as many as the machine runs at once.
  explicit thread_pool(int threads = 0) : threads_(threads > 0 ? threads : hardware_threads()) {
    if (threads < 0) fail(errc::argument, "thread_pool: ", threads, " threads; the number must not be negative.");
  }
  thread_pool(thread_pool const&) = delete;
  thread_pool& operator=(thread_pool const&) = delete;
  ~thread_pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (int i = 0; i < started_; ++i) workers_[i].join();
    delete[] workers_;
  }

  [[nodiscard]] int threads() const noexcept { return threads_; }

  /// Calls task(i) once for every i in [0, tasks), and returns when all have returned.
  template <class F>
  void operator()(index_t tasks, F&& task) {
    using callable = std::remove_reference_t<F>;
    if (tasks <= 0) return;
    if (tasks == 1 || threads_ == 1 || detail::inside_pool_task || !busy_.try_lock()) {
      for (index_t i = 0; i < tasks; ++i) task(i);
      return;
    }
    std::lock_guard only_job(busy_, std::adopt_lock);
    run({[](void const* f, index_t i) { (*static_cast<callable*>(const_cast<void*>(f)))(i); },
         static_cast<void const*>(__builtin_addressof(task))},
        tasks);
  }

 private:
  struct job {
    task_ref task;
    index_t tasks;
    alignas(64) std::atomic<index_t> next{0};
    alignas(64) std::atomic<int> helpers{0};  // workers that hold a pointer to this job
#if QUERN_EXCEPTIONS
    std::exception_ptr thrown{};
    std::atomic<bool> failed{false};
#endif
  };

  static int hardware_threads() noexcept {
    unsigned const n = std::thread::hardware_concurrency();
    return n == 0 ? 1 : static_cast<int>(n);
  }

  // About 10 to 20 microseconds of waiting before a sleep, which costs as much to come back from.
  static constexpr int spins = 512;

  void start() {
    workers_ = new std::thread[static_cast<std::size_t>(threads_ - 1)];
    for (; started_ < threads_ - 1; ++started_) {
#if QUERN_EXCEPTIONS
      try {
        workers_[started_] = std::thread([this] { work(); });
      } catch (...) {
        break;  // the system has no more threads to give: go on with those that there are
      }
#else
      workers_[started_] = std::thread([this] { work(); });
#endif
    }
  }

  void run(task_ref task, index_t tasks) {
    if (workers_ == nullptr) start();
    job mine{.task = task, .tasks = tasks};
    bool sleepers = false;
    {
      std::lock_guard lock(mutex_);
      current_ = &mine;
      generation_.fetch_add(1, std::memory_order_release);
      sleepers = sleeping_ > 0;
    }
    if (sleepers) wake_.notify_all();
    take_tasks(mine);
    {
      std::lock_guard lock(mutex_);
      current_ = nullptr;  // whoever wakes up from here on finds no job, so `mine` may go once its helpers have left
    }
    for (int i = 0; i < 4 * spins && mine.helpers.load(std::memory_order_acquire) != 0; ++i) detail::spin_pause();
    if (mine.helpers.load(std::memory_order_acquire) != 0) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [&] { return mine.helpers.load(std::memory_order_acquire) == 0; });
    } else {
      std::lock_guard last_helper_has_unlocked(mutex_);
    }
#if QUERN_EXCEPTIONS
    if (mine.thrown) std::rethrow_exception(mine.thrown);
#endif
  }

  static void take_tasks(job& j) {
    bool const before = detail::inside_pool_task;
    detail::inside_pool_task = true;
    for (index_t i; (i = j.next.fetch_add(1, std::memory_order_relaxed)) < j.tasks;) {
#if QUERN_EXCEPTIONS
      try {
        j.task(i);
      } catch (...) {
        if (!j.failed.exchange(true, std::memory_order_acq_rel)) j.thrown = std::current_exception();
        j.next.store(j.tasks, std::memory_order_relaxed);
      }
#else
      j.task(i);
#endif
    }
    detail::inside_pool_task = before;
  }

  void work() {
    std::uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < spins && generation_.load(std::memory_order_acquire) == seen; ++i) detail::spin_pause();
      job* j = nullptr;
      {
        std::unique_lock lock(mutex_);
        if (generation_.load(std::memory_order_relaxed) == seen) {
          ++sleeping_;
          wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
          --sleeping_;
        }
        seen = generation_.load(std::memory_order_relaxed);
        if (stop_) return;
        j = current_;
        if (j != nullptr) j->helpers.fetch_add(1, std::memory_order_relaxed);
      }
      if (j == nullptr) continue;
      take_tasks(*j);
      {
        std::lock_guard lock(mutex_);  // the caller may not return, and the job not vanish, between these two lines
        if (j->helpers.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.notify_one();
      }
    }
  }

  int threads_;
  std::mutex busy_;  // held by the thread whose job the workers run
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<std::uint64_t> generation_{0};
  job* current_ = nullptr;      // under mutex_
  int sleeping_ = 0;            // under mutex_
  bool stop_ = false;           // under mutex_
  std::thread* workers_ = nullptr;
  int started_ = 0;
};

}  // inline namespace QUERN_ABI
}  // namespace quern
