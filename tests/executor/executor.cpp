// Executors: every task once, errors reach the caller, nothing hangs. Run this file under ThreadSanitizer too.
#include "support/catch.hpp"

#include <quern/dispatch/thread_pool.hpp>

#include <cmath>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using quern::executor_ref;
using quern::index_t;
using quern::task_ref;
using quern::thread_pool;

namespace {

template <class Executor>
void runs_every_task_once(Executor&& execute, index_t tasks) {
  std::vector<int> calls(static_cast<std::size_t>(tasks > 0 ? tasks : 0), 0);  // disjoint: no task shares an element
  execute(tasks, [&](index_t i) { ++calls.at(static_cast<std::size_t>(i)); });
  for (int c : calls) REQUIRE(c == 1);
}

}  // namespace

TEST_CASE("executor: any callable with the right shape is one", "[executor]") {
  static_assert(quern::executor<quern::serial>);
  static_assert(quern::executor<thread_pool>);
  static_assert(quern::executor<executor_ref>);
  static_assert(quern::executor<std::function<void(index_t, std::function<void(index_t)>)>>);
  static_assert(!quern::executor<int>);
  static_assert(!quern::executor<std::function<void(index_t)>>);
  static_assert(std::is_trivially_copyable_v<executor_ref>);
}

TEST_CASE("executor: serial, the pool, references to them and foreign callables run every task once", "[executor]") {
  thread_pool pool(3), one(1);
  auto const backwards = [](index_t tasks, auto const& task) {
    for (index_t i = tasks; i-- > 0;) task(i);
  };
  std::function<void(index_t, std::function<void(index_t)>)> const erased = [&](index_t n, std::function<void(index_t)> f) {
    pool(n, f);
  };
  for (index_t tasks : {-1, 0, 1, 2, 3, 4, 7, 100, 1000}) {
    runs_every_task_once(quern::serial{}, tasks);
    runs_every_task_once(pool, tasks);
    runs_every_task_once(one, tasks);
    runs_every_task_once(executor_ref{}, tasks);
    runs_every_task_once(executor_ref{pool}, tasks);
    runs_every_task_once(executor_ref{backwards}, tasks);
    runs_every_task_once(executor_ref{erased}, tasks);
  }
}

TEST_CASE("executor: a reference knows how many threads there are, where that is known", "[executor]") {
  thread_pool pool(3);
  auto const foreign = [](index_t n, task_ref task) { quern::serial{}(n, task); };
  CHECK(executor_ref{}.is_serial());
  CHECK(executor_ref{}.threads == 1);
  CHECK(executor_ref{quern::serial{}}.is_serial());
  CHECK(executor_ref{pool}.threads == 3);
  CHECK(executor_ref{foreign}.threads == 0);
  CHECK_FALSE(executor_ref{foreign}.is_serial());
  CHECK(thread_pool().threads() >= 1);
}

TEST_CASE("executor: the pool runs tasks on more than one thread", "[executor]") {
  thread_pool pool(2);
  std::atomic<int> arrived{0};
  pool(2, [&](index_t) {  // each waits for the other: on one thread this would never end
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  CHECK(arrived.load() == 2);
}

TEST_CASE("executor: an exception of a task reaches the caller and the pool stays usable", "[executor]") {
  thread_pool pool(3);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> ran{0};
    bool caught = false;
    try {
      pool(64, [&](index_t i) {
        ran.fetch_add(1);
        if (i == round % 64) throw std::runtime_error("task " + std::to_string(i));
      });
    } catch (std::runtime_error const& e) {
      caught = e.what() == "task " + std::to_string(round % 64);
    }
    REQUIRE(caught);
    REQUIRE(ran.load() >= 1);
    runs_every_task_once(pool, 16);
  }
}

TEST_CASE("executor: when every task throws, one exception arrives", "[executor]") {
  thread_pool pool(4);
  for (int round = 0; round < 100; ++round)
    REQUIRE_THROWS_AS(pool(32, [](index_t) { throw std::logic_error("all of them"); }), std::logic_error);
  runs_every_task_once(pool, 100);
}

TEST_CASE("executor: nested calls run on the spot", "[executor]") {
  thread_pool pool(3), other(2);
  std::vector<int> calls(8 * 16, 0);
  pool(8, [&](index_t i) {
    pool(8, [&](index_t j) { ++calls[static_cast<std::size_t>(i * 16 + j)]; });
    other(8, [&](index_t j) { ++calls[static_cast<std::size_t>(i * 16 + 8 + j)]; });
  });
  for (int c : calls) REQUIRE(c == 1);
}

TEST_CASE("executor: several threads may share one pool", "[executor]") {
  thread_pool pool(3);
  std::vector<std::thread> callers;
  std::atomic<long> total{0};
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&] {
      for (int round = 0; round < 300; ++round) pool(9, [&](index_t i) { total.fetch_add(i, std::memory_order_relaxed); });
    });
  for (auto& c : callers) c.join();
  CHECK(total.load() == 4L * 300 * 36);
}

TEST_CASE("executor: what tasks wrote is visible after the call", "[executor]") {
  // Plain memory on purpose: under ThreadSanitizer this is the proof that a call synchronizes with its tasks both ways.
  thread_pool pool(4);
  std::vector<long> cell(64, 0);
  for (long round = 1; round <= 2000; ++round) {
    pool(64, [&](index_t i) { cell[static_cast<std::size_t>(i)] += round; });
    long sum = 0;
    for (long c : cell) sum += c;
    REQUIRE(sum == 64 * round * (round + 1) / 2);
  }
}

TEST_CASE("executor: pools come and go, with sleeping threads, without a call, and after one", "[executor]") {
  for (int round = 0; round < 50; ++round) {
    thread_pool idle(4);
    thread_pool used(4);
    runs_every_task_once(used, 8);
    if (round % 10 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // long enough for the workers to sleep
      runs_every_task_once(used, 8);
    }
  }
}

TEST_CASE("executor: a negative number of threads is refused", "[executor]") {
  try {
    thread_pool pool(-2);
    FAIL("no error");
  } catch (quern::error const& e) {
    CHECK(e.code() == quern::errc::argument);
    CHECK(std::string(e.what()) == "thread_pool: -2 threads; the number must not be negative.");
  }
}
