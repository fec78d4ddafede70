// Every index exactly once, whatever the number of workers, from inside a job, from several threads at once, and after the pool was
// stopped or resized.
#include "../../native/core/thread_pool.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "check.h"

namespace {

struct Counts {
  std::vector<std::atomic<int>> seen;
  int64_t grain;
  std::atomic<int> bad{0};
  bool nested = false;
};

void visit(void* context, int64_t begin, int64_t end, int worker) {
  Counts& counts = *static_cast<Counts*>(context);
  if (begin >= end || end - begin > counts.grain || worker < 0 || worker >= echo::thread_count()) counts.bad++;
  for (int64_t i = begin; i < end; i++) counts.seen[i]++;
  if (counts.nested) {
    Counts inner{std::vector<std::atomic<int>>(13), 3, {}, false};
    echo::parallel_for(13, 3, visit, &inner);
    for (const auto& n : inner.seen) counts.bad += n != 1;
    counts.bad += inner.bad;
  }
}

void cover(int64_t n, int64_t grain, bool nested = false) {
  Counts counts{std::vector<std::atomic<int>>(static_cast<std::size_t>(n)), grain, {}, nested};
  echo::parallel_for(n, grain, visit, &counts);
  for (const auto& seen : counts.seen) CHECK(seen == 1, "an index was visited %d times", seen.load());
  CHECK(counts.bad == 0, "%d bad ranges", counts.bad.load());
}

}  // namespace

int main() {
  for (const int threads : {1, 2, 3, 8, 2}) {
    echo::set_thread_count(threads);
    CHECK(echo::thread_count() == threads);
    for (const int64_t n : {0, 1, 2, 7, 64, 1000})
      for (const int64_t grain : {1, 3, 64, 5000}) cover(n, grain);
    cover(50, 2, true);
    for (int i = 0; i < 500; i++) cover(9, 1);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; caller++)
      callers.emplace_back([] {
        for (int i = 0; i < 100; i++) cover(40, 1);
      });
    for (std::thread& caller : callers) caller.join();
    echo::stop_threads();
    cover(100, 1);
  }
  echo::set_thread_count(1000);
  CHECK(echo::thread_count() == 256);
  echo::set_thread_count(0);
  CHECK(echo::thread_count() == 1);
  echo::stop_threads();
  return finish("thread_pool_test");
}
