// One pool of worker threads for the process, started on first use; the calling thread is worker 0.
// Size: ECHO_GRPO_THREADS, else the number of usable cores. Never OpenMP, never libuv's pool.
#pragma once

#include <cstdint>

namespace echo {

// Called with disjoint ranges [begin, end) that cover [0, n), each at most `grain` long, in any order and on any worker.
using RangeFunction = void (*)(void* context, int64_t begin, int64_t end, int worker);

// A call from inside a range function, or while another thread uses the pool, runs on the calling thread alone as worker 0.
// Range functions see the default floating-point environment: round to nearest, denormals kept.
void parallel_for(int64_t n, int64_t grain, RangeFunction function, void* context);

// Number of workers, the caller included.
int thread_count();

// 1 .. 256. Not to be called while a parallel_for runs.
void set_thread_count(int threads);

// Ends and joins the workers; the next parallel_for starts them again. To be called before the library is unloaded.
void stop_threads();

}  // namespace echo
