// What the benches of this folder share: their options, numbers in device memory, time by events beside a device copy in the same rounds, and
// the JSON they print. Included by one file of a program.
#pragma once

#include <errno.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../native/core/dtype.h"
#include "../../native/cuda/device.h"
#include "../../native/cuda/runtime.h"

namespace bench {

using echo::CudaFailure;
using echo::Dtype;
using echo::Status;

[[noreturn]] inline void stop(const char* what, const char* why) {
  std::fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
  std::exit(1);
}

inline void need(cudaError_t error, const char* what) {
  if (error != cudaSuccess) stop(what, cudaGetErrorString(error));
}

inline void need(Status status, const CudaFailure& failure, const char* what) {
  if (status != Status::ok) stop(what, failure.message);
}

struct Options {
  bool quick = false;
  int64_t elements = 0;  // 0: not given
};

// Ends the program with status 2 when an argument is unusable. `least`: how many elements the smallest case needs.
inline Options parse_options(int argc, char** argv, int64_t least) {
  Options options;
  const auto refuse = [&](const char* what, const char* got) {
    std::fprintf(stderr,
                 "[%s] %s: expected [--quick] [--elements N] with N from %" PRId64 " on, got %s.\n"
                 "--elements is the most elements of a case, less where device memory has no room for them; --quick is for a look.\n",
                 program_invocation_short_name, what, least, got);
    std::exit(2);
  };
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      options.quick = true;
    } else if (std::strcmp(argv[i], "--elements") == 0) {
      const char* const text = i + 1 < argc ? argv[++i] : "";
      char* end = nullptr;
      errno = 0;
      options.elements = std::strtoll(text, &end, 10);
      if (*text < '0' || *text > '9' || *end != 0 || errno != 0 || options.elements < least)
        refuse("--elements is not such a number", *text == 0 ? "nothing" : text);
    } else {
      refuse("an unknown argument", argv[i]);
    }
  }
  return options;
}

// What is asked for, or so many of `bytes` each as four fifths of the free device memory hold, if that is less.
inline int64_t elements_in_memory(int64_t asked, int64_t bytes, int64_t least) {
  size_t unused = 0, total = 0;
  need(cudaMemGetInfo(&unused, &total), "device memory");
  const int64_t room = static_cast<int64_t>(unused / 10 * 8) / bytes;
  if (room < least) stop("device memory", "there is no room for the smallest case");
  return std::min(asked, room);
}

ECHO_DEVICE uint32_t mixed(uint64_t x) {
  x ^= x >> 33, x *= 0xff51afd7ed558ccdull, x ^= x >> 33, x *= 0xc4ceb9fe1a85ec53ull, x ^= x >> 33;
  return static_cast<uint32_t>(x);
}

// About N(0, deviation): the sum of four uniform numbers.
ECHO_DEVICE float draw(uint64_t i, float deviation) {
  float sum = 0.0f;
  for (uint32_t k = 0; k < 4; k++) sum += static_cast<float>(mixed(4 * i + k) >> 8) / 16777216.0f - 0.5f;
  return sum * 1.7320508f * deviation;
}

ECHO_GLOBAL(256, 2) draw_float32(float* x, int64_t n, float deviation) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    x[i] = draw(static_cast<uint64_t>(i), deviation);
}

ECHO_GLOBAL(256, 2) draw_bits(uint16_t* x, int64_t n, float deviation, bool halves) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const float v = draw(static_cast<uint64_t>(i), deviation);
    x[i] = static_cast<uint16_t>(halves ? echo::cuda::pack_halves(v, 0.0f) : echo::cuda::pack_bfloat16(v, 0.0f));
  }
}

// Queues n numbers of about N(0, deviation).
inline void draw_numbers(Dtype type, void* x, int64_t n, float deviation, cudaStream_t stream) {
  using echo::cuda::launch;
  CudaFailure failure{};
  const echo::cuda::Grid grid = {std::min<int64_t>(4096, (n + 255) / 256), 256};
  need(type == Dtype::float32 ? launch(draw_float32, grid, stream, &failure, static_cast<float*>(x), n, deviation)
                              : launch(draw_bits, grid, stream, &failure, static_cast<uint16_t*>(x), n, deviation, type == Dtype::float16),
       failure, "a kernel");
}

inline const char* name_of(Dtype type) { return type == Dtype::float32 ? "float32" : type == Dtype::bfloat16 ? "bfloat16" : "float16"; }

inline void copy_on_device(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  need(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream), "a copy");
}

struct Quantiles {
  double median, low, high;
};

inline Quantiles quantiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) { return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)]; };
  return {at(0.5), at(0.2), at(0.8)};
}

class Timer {
 public:
  Timer() {
    need(cudaEventCreateWithFlags(&begin_, 0), "an event");
    need(cudaEventCreateWithFlags(&end_, 0), "an event");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  template <typename Work>
  double milliseconds(cudaStream_t stream, Work work) {
    need(cudaEventRecord(begin_, stream), "an event");
    work();
    need(cudaEventRecord(end_, stream), "an event");
    need(cudaEventSynchronize(end_), "the device");
    float ms = 0;
    need(cudaEventElapsedTime(&ms, begin_, end_), "an event");
    return ms;
  }

 private:
  cudaEvent_t begin_, end_;
};

struct BesideCopy {
  Quantiles ours, copy;  // milliseconds
};

// ours() and copy() in turns, A B B A, so that neither always finds the warmer device; prepare() before each, outside the time.
template <typename Prepare, typename Ours, typename Copy>
BesideCopy measure_beside_copy(cudaStream_t stream, int repetitions, Prepare prepare, Ours ours, Copy copy) {
  Timer timer;
  std::vector<double> times, copies;
  for (int repetition = -3; repetition < repetitions; repetition++) {
    const bool ours_first = repetition % 2 == 0;
    double mine = 0, copied = 0;
    for (int turn = 0; turn < 2; turn++) {
      prepare();
      if ((turn == 0) == ours_first) mine = timer.milliseconds(stream, ours);
      else copied = timer.milliseconds(stream, copy);
    }
    if (repetition < 0) continue;
    times.push_back(mine);
    copies.push_back(copied);
  }
  return {quantiles(times), quantiles(copies)};
}

// One JSON object: the device, and a list of measurements.
class Report {
 public:
  Report() {
    cudaDeviceProp device;
    need(cudaGetDeviceProperties(&device, 0), "the device");
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    std::printf("{\n  \"device\": \"%s\", \"computeCapability\": %d, \"multiprocessors\": %d, \"memoryMiB\": %zu, \"driver\": %d, \"runtime\": %d,\n"
                "  \"measurements\": [",
                device.name, device.major * 10 + device.minor, device.multiProcessorCount, device.totalGlobalMem >> 20, driver, runtime);
  }

  // `sizes`: members of a JSON object. `moved`: the bytes that have to be read and written; `copied`: read and written by the copy.
  void add(const char* kernel, Dtype type, Dtype gradient_type, const char* sizes, const BesideCopy& times, int64_t moved, int64_t copied) {
    const double rate = static_cast<double>(moved) / times.ours.median / 1e6;
    const double copy_rate = static_cast<double>(copied) / times.copy.median / 1e6;
    std::printf("%s\n    {\"kernel\": \"%s\", \"dtype\": \"%s\", \"gradientDtype\": \"%s\", %s, \"ms\": %.5f, \"p20\": %.5f, \"p80\": %.5f, "
                "\"usefulGBps\": %.4g, \"copyGBps\": %.4g, \"shareOfCopy\": %.4g}",
                first_ ? "" : ",", kernel, name_of(type), name_of(gradient_type), sizes, times.ours.median, times.ours.low, times.ours.high, rate,
                copy_rate, rate / copy_rate);
    std::fflush(stdout);
    first_ = false;
  }

  void end() { std::printf("\n  ]\n}\n"); }

 private:
  bool first_ = true;
};

}  // namespace bench
