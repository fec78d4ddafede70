// Jobs run one at a time in the order of the calls, from however many threads; what has not begun can be taken back or dropped; a drop and a
// pause wait for what runs. Gates, not sleeps, hold a job where the test wants it.
#include "../../native/core/dispatcher.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "../../native/core/float_environment.h"
#include "check.h"

namespace {

class Gate {
 public:
  void open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

struct Log {
  std::mutex mutex;
  std::vector<int> ran, finished;
  std::atomic<int> inside{0}, most_inside{0};
};

class Job final : public echo::DispatchedJob {
 public:
  Job(const void* owner, Log& log, int name, std::function<void()> work = [] {})
      : DispatchedJob(owner), log_(log), name_(name), work_(std::move(work)) {}

  void run() override {
    if (++log_.inside > 1) log_.most_inside = 2;
    begun.open();
    work_();
    const std::lock_guard<std::mutex> lock(log_.mutex);
    log_.ran.push_back(name_);
    log_.inside--;
  }
  void finish() override {
    {
      const std::lock_guard<std::mutex> lock(log_.mutex);
      log_.finished.push_back(name_);
    }
    ended.open();
  }

  Gate begun, ended;

 private:
  Log& log_;
  int name_;
  std::function<void()> work_;
};

int left = 0, right = 0;  // two owners

void runs_in_order() {
  Log log;
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 50; i++) {
    jobs.push_back(std::make_unique<Job>(&left, log, i, [] { CHECK(std::this_thread::get_id() != std::thread::id()); }));
    CHECK(echo::dispatch(jobs.back().get()));
  }
  jobs.back()->ended.wait();
  for (int i = 0; i < 50; i++) CHECK(log.ran[static_cast<size_t>(i)] == i && log.finished[static_cast<size_t>(i)] == i, "place %d", i);
  echo::drop_jobs(&left);
}

void takes_back_what_has_not_begun() {
  Log log;
  Gate go;
  Job first(&left, log, 0, [&] { go.wait(); }), second(&left, log, 1), third(&left, log, 2), fourth(&left, log, 3);
  for (Job* job : {&first, &second, &third, &fourth}) echo::dispatch(job);
  first.begun.wait();
  CHECK(!echo::take_back(&first), "a job that runs");
  CHECK(echo::take_back(&fourth), "the last in the queue");
  CHECK(echo::take_back(&second), "one in the middle");
  CHECK(!echo::take_back(&second), "twice");
  Job fifth(&left, log, 4);
  echo::dispatch(&fifth);
  go.open();
  fifth.ended.wait();
  CHECK((log.ran == std::vector<int>{0, 2, 4}));
  echo::drop_jobs(&left);
}

void drops_an_owners_jobs() {
  Log log;
  Gate go;
  Job running(&left, log, 0, [&] { go.wait(); }), first(&right, log, 1), kept(&left, log, 2), second(&right, log, 3);
  for (Job* job : {&running, &first, &kept, &second}) echo::dispatch(job);
  running.begun.wait();
  // Does not wait for what runs for another.
  echo::drop_jobs(&right);
  go.open();
  kept.ended.wait();
  echo::drop_jobs(&left);
  CHECK((log.finished == std::vector<int>{0, 2}), "the other owner's jobs go on, the dropped ones never run");
}

void waits_for_an_owners_running_job() {
  Log log;
  Gate go;
  Job running(&left, log, 0, [&] { go.wait(); });
  echo::dispatch(&running);
  running.begun.wait();
  std::atomic<bool> leaving{false};
  std::thread leaver([&] {
    leaving = true;
    echo::drop_jobs(&left);
    // Whoever waited may delete the job now: it must be over, `finish` included.
    const std::lock_guard<std::mutex> lock(log.mutex);
    CHECK(log.finished.size() == 1, "the running job had not finished");
  });
  while (!leaving) std::this_thread::yield();
  for (int i = 0; i < 1000; i++) std::this_thread::yield();
  go.open();
  leaver.join();
}

void pauses() {
  Log log;
  Gate go;
  Job running(&left, log, 0, [&] { go.wait(); }), queued(&left, log, 1);
  echo::dispatch(&running);
  running.begun.wait();
  std::thread opener([&] { go.open(); });
  {
    const echo::DispatcherPause pause;
    CHECK(log.inside == 0, "a pause waits for the job that runs");
    echo::dispatch(&queued);
    {
      const echo::DispatcherPause nested;
    }
    for (int i = 0; i < 1000; i++) std::this_thread::yield();
    CHECK(log.inside == 0 && log.ran.size() == 1, "a job ran during a pause");
  }
  queued.ended.wait();
  opener.join();
  echo::drop_jobs(&left);
}

void stops_and_starts_again() {
  Log log;
  std::vector<std::unique_ptr<Job>> jobs;
  for (int i = 0; i < 20; i++) {
    jobs.push_back(std::make_unique<Job>(&left, log, i));
    echo::dispatch(jobs.back().get());
  }
  echo::stop_dispatcher();
  CHECK(log.finished.size() == 20, "stopped with jobs in the queue");
  echo::stop_dispatcher();
  Job again(&left, log, 20);
  CHECK(echo::dispatch(&again));
  again.ended.wait();
  echo::stop_dispatcher();
}

void serves_many_threads() {
  Log log;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; caller++)
    callers.emplace_back([&log, caller] {
      const int owner = caller;
      std::vector<std::unique_ptr<Job>> jobs;
      for (int i = 0; i < 200; i++) {
        jobs.push_back(std::make_unique<Job>(&owner, log, caller * 1000 + i));
        echo::dispatch(jobs.back().get());
        if (i % 7 == 0) echo::take_back(jobs[static_cast<size_t>(i / 2)].get());
        if (i == 100) const echo::DispatcherPause pause;
      }
      echo::drop_jobs(&owner);
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(log.most_inside < 2, "two jobs at once");
  std::vector<int> last(4, -1);
  for (const int name : log.ran) {
    CHECK(name % 1000 > last[static_cast<size_t>(name / 1000)], "out of order");
    last[static_cast<size_t>(name / 1000)] = name % 1000;
  }
  CHECK(log.ran == log.finished);
  echo::stop_dispatcher();
}

// A thread takes over the floating-point environment of the one that starts it.
void has_the_default_float_environment() {
#if defined(__x86_64__)
  echo::stop_dispatcher();
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040);
  Log log;
  std::atomic<unsigned> seen{0};
  Job job(&left, log, 0, [&] { seen = _mm_getcsr(); });
  echo::dispatch(&job);
  job.ended.wait();
  _mm_setcsr(saved);
  CHECK((seen & 0x8040) == 0, "denormals are flushed: %x", seen.load());
  echo::stop_dispatcher();
#endif
}

}  // namespace

int main() {
  runs_in_order();
  takes_back_what_has_not_begun();
  drops_an_owners_jobs();
  waits_for_an_owners_running_job();
  pauses();
  stops_and_starts_again();
  serves_many_threads();
  has_the_default_float_environment();
  return finish("dispatcher_test");
}
