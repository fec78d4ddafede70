// Runs a kernel under plain g++: every thread of a block is a fiber, barriers and shuffles are where fibers change. Shared memory starts
// out poisoned, schedules are adversarial, and threads that wait at different barriers end the program. What it cannot show: races
// through global memory between blocks, memory ordering, occupancy. A kernel must keep to the names of native/cuda/device.h.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#define ECHO_CUDA_SHIM
#define __CUDA_ARCH__ 800  // objective.h takes its device arithmetic

#define ECHO_DEVICE static inline
#define ECHO_GLOBAL(threads) static void
#define ECHO_SHARED(type, name, count) type* name = static_cast<type*>(cuda_shim::shared_memory(#name, sizeof(type) * (count)))
#define ECHO_BARRIER(number) cuda_shim::barrier(number)
#define ECHO_UNROLL
#define ECHO_UNROLL_4

struct alignas(16) float4 {
  float x, y, z, w;
};

namespace cuda_shim {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// Which of the runnable threads goes next, always as far as it can. Random: any, but one warp is favoured for a while, then another;
// threads drawn evenly would keep all warps within a few steps of each other and hide a missing barrier.
enum class Schedule { in_order, reversed, random };

enum class Wait { none, barrier, shuffle, done };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  Wait wait = Wait::none;
  int barrier = 0;
  int lane_mask = 0;
  float given = 0;
  float received = 0;
};

struct Device {
  Index thread, block, block_size, grid_size;
  int deleted_barrier = 0;
  std::vector<Fiber> fibers;
  std::map<std::string, std::vector<uint64_t>> arena;
  std::function<void()> kernel;
  ucontext_t scheduler;
};

inline Device device;

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "cuda_shim: %s (block %u, thread %u)\n", what, device.block.x, device.thread.x);
  std::exit(3);
}

inline Fiber& current() { return device.fibers[device.thread.x]; }

inline void pause() { swapcontext(&current().context, &device.scheduler); }

// All bytes 0xff: a float read before it is written is NaN.
inline void* shared_memory(const char* name, size_t bytes) {
  std::vector<uint64_t>& memory = device.arena[name];
  if (memory.empty()) memory.assign((bytes + 7) / 8, ~uint64_t{0});
  return memory.data();
}

// Everyone alive has arrived at one barrier, or nobody goes on.
inline void release_barrier() {
  int barrier = 0;
  for (const Fiber& f : device.fibers) {
    if (f.wait == Wait::done) continue;
    if (f.wait != Wait::barrier) return;
    if (barrier != 0 && f.barrier != barrier) fail("threads wait at different barriers");
    barrier = f.barrier;
  }
  for (Fiber& f : device.fibers)
    if (f.wait == Wait::barrier) f.wait = Wait::none;
}

inline void barrier(int number) {
  if (number == device.deleted_barrier) return;
  current().wait = Wait::barrier;
  current().barrier = number;
  release_barrier();
  if (current().wait != Wait::none) pause();
}

inline float shuffle_xor(float value, int lane_mask) {
  Fiber& self = current();
  self.wait = Wait::shuffle;
  self.given = value;
  self.lane_mask = lane_mask;
  Fiber* warp = &device.fibers[device.thread.x / 32 * 32];
  bool complete = true;
  for (int lane = 0; lane < 32; lane++) {
    if (warp[lane].wait == Wait::done) fail("a shuffle misses a lane that has returned");
    complete = complete && warp[lane].wait == Wait::shuffle;
  }
  if (complete) {
    for (int lane = 0; lane < 32; lane++) {
      if (warp[lane].lane_mask != lane_mask) fail("the lanes of a warp are at different shuffles");
      warp[lane].received = warp[lane ^ lane_mask].given;
    }
    for (int lane = 0; lane < 32; lane++) warp[lane].wait = Wait::none;
  } else {
    pause();
  }
  return current().received;
}

inline void enter() {
  device.kernel();
  current().wait = Wait::done;
  release_barrier();
}

inline unsigned draw(const std::vector<unsigned>& runnable, std::mt19937& random, unsigned& favourite) {
  if (random() % 256 == 0) favourite = runnable[random() % runnable.size()] / 32;
  std::vector<unsigned> favoured;
  for (unsigned thread : runnable)
    if (thread / 32 == favourite) favoured.push_back(thread);
  const std::vector<unsigned>& from = favoured.empty() ? runnable : favoured;
  return from[random() % from.size()];
}

inline void run_block(Schedule schedule, std::mt19937& random) {
  constexpr size_t stack_bytes = 128 * 1024;
  device.arena.clear();
  for (Fiber& f : device.fibers) {
    f.wait = Wait::none;
    if (!f.stack) f.stack.reset(new char[stack_bytes]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = stack_bytes;
    f.context.uc_link = &device.scheduler;
    makecontext(&f.context, enter, 0);
  }
  std::vector<unsigned> runnable;
  unsigned favourite = 0;
  for (;;) {
    runnable.clear();
    size_t done = 0;
    for (unsigned i = 0; i < device.fibers.size(); i++) {
      if (device.fibers[i].wait == Wait::none) runnable.push_back(i);
      if (device.fibers[i].wait == Wait::done) done++;
    }
    if (done == device.fibers.size()) return;
    if (runnable.empty()) fail("nobody can go on: a barrier or shuffle that some threads never reach");
    device.thread.x = schedule == Schedule::in_order   ? runnable.front()
                      : schedule == Schedule::reversed ? runnable.back()
                                                       : draw(runnable, random, favourite);
    swapcontext(&device.scheduler, &current().context);
  }
}

struct Launch {
  unsigned blocks = 1;
  unsigned threads = 32;
  Schedule schedule = Schedule::in_order;
  unsigned seed = 0;
  int deleted_barrier = 0;  // ECHO_BARRIER of this number does nothing
};

// Runs kernel() on every thread of every block, one block after the other, last first when reversed.
inline void launch(const Launch& how, std::function<void()> kernel) {
  std::mt19937 random(how.seed);
  device.kernel = std::move(kernel);
  device.deleted_barrier = how.deleted_barrier;
  device.block_size.x = how.threads;
  device.grid_size.x = how.blocks;
  device.fibers = std::vector<Fiber>(how.threads);
  for (unsigned i = 0; i < how.blocks; i++) {
    device.block.x = how.schedule == Schedule::reversed ? how.blocks - 1 - i : i;
    run_block(how.schedule, random);
  }
}

}  // namespace cuda_shim

#define threadIdx (cuda_shim::device.thread)
#define blockIdx (cuda_shim::device.block)
#define blockDim (cuda_shim::device.block_size)
#define gridDim (cuda_shim::device.grid_size)

namespace echo {
namespace cuda {

ECHO_DEVICE float exp2_approx(float x) { return __builtin_exp2f(x); }
ECHO_DEVICE float shuffle_xor(float value, int lane_mask) { return cuda_shim::shuffle_xor(value, lane_mask); }
ECHO_DEVICE float4 load_first(const float* p) { return *reinterpret_cast<const float4*>(p); }
ECHO_DEVICE float4 load_last(const float* p) { return *reinterpret_cast<const float4*>(p); }
ECHO_DEVICE void store_last(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }

}  // namespace cuda
}  // namespace echo
