// How fast the kernels of the loss are on this device: time by events, medians of interleaved repetitions, beside a copy of as many bytes on the
// same device in the same run. Logits are made anew before each repetition, outside the time. Prints one JSON object.
//   loss_bench [--quick]
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "../../native/cuda/device.h"
#include "../../native/cuda/runtime.h"
#include "../../native/loss/cuda_loss.h"

namespace {

using namespace echo;
using cuda::launch;

[[noreturn]] void stop(const char* what, const char* why) {
  std::fprintf(stderr, "loss_bench: %s: %s\n", what, why);
  std::exit(1);
}

void need(cudaError_t error, const char* what) {
  if (error != cudaSuccess) stop(what, cudaGetErrorString(error));
}

ECHO_DEVICE uint32_t mixed(uint64_t x) {
  x ^= x >> 33, x *= 0xff51afd7ed558ccdull, x ^= x >> 33, x *= 0xc4ceb9fe1a85ec53ull, x ^= x >> 33;
  return static_cast<uint32_t>(x);
}

// About N(0, 3): the sum of four uniform numbers.
ECHO_DEVICE float logit(uint64_t i) {
  float sum = 0.0f;
  for (uint32_t k = 0; k < 4; k++) sum += static_cast<float>(mixed(4 * i + k) >> 8) / 16777216.0f - 0.5f;
  return sum * 5.2f;
}

ECHO_GLOBAL(256, 2) make_float32(float* x, int64_t n) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    x[i] = logit(static_cast<uint64_t>(i));
}

ECHO_GLOBAL(256, 2) make_bits(uint16_t* x, int64_t n, bool halves) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const float v = logit(static_cast<uint64_t>(i));
    x[i] = static_cast<uint16_t>(halves ? cuda::pack_halves(v, 0.0f) : cuda::pack_bfloat16(v, 0.0f));
  }
}

struct Case {
  const char* name;
  Dtype type, gradient_type;
  bool logprobs;  // only read
  bool full;      // with an entropy: the kernels that keep two more sums
};

constexpr Case cases[] = {{"loss + gradient", Dtype::float32, Dtype::float32, false, false},
                          {"loss + gradient", Dtype::bfloat16, Dtype::bfloat16, false, false},
                          {"loss + gradient", Dtype::float16, Dtype::float16, false, false},
                          {"loss + gradient", Dtype::float32, Dtype::bfloat16, false, false},
                          {"loss + gradient, entropy bonus", Dtype::bfloat16, Dtype::bfloat16, false, true},
                          {"log-probabilities", Dtype::float32, Dtype::float32, true, false},
                          {"log-probabilities", Dtype::bfloat16, Dtype::bfloat16, true, false}};
constexpr int64_t vocabularies[] = {64, 512, 4096, 32000, 50257, 128256, 151936, 262144};
constexpr double masked_shares[] = {0, 0.5, 0.9};

const char* name_of(Dtype type) { return type == Dtype::float32 ? "float32" : type == Dtype::bfloat16 ? "bfloat16" : "float16"; }

struct Quantiles {
  double median, low, high;
};

Quantiles quantiles(std::vector<double> values) {
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

class Bench {
 public:
  Bench(int64_t bytes, int repetitions) : repetitions_(repetitions) {
    need(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
    CudaFailure failure{};
    if (logits_.reserve(bytes, stream_, &failure) != Status::ok || other_.reserve(bytes, stream_, &failure) != Status::ok)
      stop("device memory", failure.message);
  }

  void run(const Case& c, int64_t vocab, int64_t rows, double masked, bool& first) {
    std::vector<int32_t> targets(static_cast<size_t>(rows));
    std::vector<float> action(targets.size(), 0.0f), observation(targets.size(), 0.0f), advantage(targets.size(), 0.7f), old(targets.size(), -9.0f);
    for (size_t i = 0; i < targets.size(); i++) {
      targets[i] = static_cast<int32_t>((i * 7919) % static_cast<size_t>(vocab));
      // Spread evenly, so that every part of the device has its share.
      const bool weighted = static_cast<int64_t>((static_cast<double>(i) + 1) * (1 - masked)) > static_cast<int64_t>(static_cast<double>(i) * (1 - masked));
      if (weighted) (i % 2 ? action : observation)[i] = 1e-3f;
      else if (c.logprobs) targets[i] = -1;
    }
    EchoLossTotals totals{};
    EchoLossArgs args{};
    args.logits_type = c.type;
    args.gradient_type = c.gradient_type;
    args.rows = rows;
    args.vocab = args.ld = vocab;
    args.targets = targets.data();
    args.action_weights = action.data();
    args.observation_weights = observation.data();
    args.advantages = advantage.data();
    args.old_logprobs = old.data();
    args.temperature = args.grad_scale = 1;
    args.epsilon_low = args.epsilon_high = 0.2f;
    args.dual_clip = INFINITY;
    args.log_ratio_clamp = 20;
    args.entropy = c.full;
    args.entropy_coefficient = c.full ? 0.01f : 0;
    args.totals = &totals;
    std::vector<float> logprobs(targets.size());
    TokenLogprobsArgs read{nullptr, rows, vocab, vocab, targets.data(), 1, logprobs.data(), c.type, 0, nullptr};

    const CudaCall call{0, stream_};
    CudaFailure failure{};
    CudaLossBlocks blocks;
    CudaLogprobBlocks log_blocks;
    const Status begun = c.logprobs ? log_blocks.begin(call, read, &failure) : blocks.begin(call, args, &failure);
    if (begun != Status::ok) stop("the rows", failure.message);
    const int64_t bytes = rows * vocab * dtype_size(c.type);
    std::vector<double> ours, copies, whole;
    for (int repetition = -3; repetition < repetitions_; repetition++) {
      // A B B A: neither always finds the warmer device.
      const bool ours_first = repetition % 2 == 0;
      double mine = 0, copied = 0;
      for (int turn = 0; turn < 2; turn++) {
        make(c.type, rows * vocab);
        if ((turn == 0) == ours_first) {
          mine = timer_.milliseconds(stream_, [&] {
            const Status status = c.logprobs ? log_blocks.add(logits_.as<void>(), 0, rows, &failure)
                                             : blocks.add(logits_.as<void>(), 0, rows, &failure);
            if (status != Status::ok) stop("a kernel", failure.message);
          });
        } else {
          copied = timer_.milliseconds(stream_, [&] {
            need(cudaMemcpyAsync(other_.as<void>(), logits_.as<void>(), static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_), "a copy");
          });
        }
      }
      if (repetition < 0) continue;
      ours.push_back(mine);
      copies.push_back(copied);
    }
    const Status ended = c.logprobs ? log_blocks.finish(read, &failure) : blocks.finish(args, &failure);
    if (ended != Status::ok) stop("the totals", failure.message);
    const Quantiles q = quantiles(ours), copy = quantiles(copies);
    // Rows without weight are not read; all are written.
    const double written = c.logprobs ? 0 : static_cast<double>(rows * vocab * dtype_size(c.gradient_type));
    const double moved = static_cast<double>(bytes) * (1 - masked) + written;
    std::printf("%s\n    {\"kernel\": \"%s\", \"dtype\": \"%s\", \"gradientDtype\": \"%s\", \"vocab\": %" PRId64 ", \"rows\": %" PRId64
                ", \"masked\": %g, \"ms\": %.5f, \"p20\": %.5f, \"p80\": %.5f, \"usefulGBps\": %.1f, \"copyGBps\": %.1f, \"shareOfCopy\": %.4f}",
                first ? "" : ",", c.name, name_of(c.type), name_of(c.gradient_type), vocab, rows, masked, q.median, q.low, q.high,
                moved / q.median / 1e6, 2.0 * static_cast<double>(bytes) / copy.median / 1e6,
                moved / q.median / (2.0 * static_cast<double>(bytes) / copy.median));
    std::fflush(stdout);
    first = false;
  }

 private:
  void make(Dtype type, int64_t n) {
    CudaFailure failure{};
    const cuda::Grid grid = {4096, 256};
    const Status status = type == Dtype::float32 ? launch(make_float32, grid, stream_, &failure, logits_.as<float>(), n)
                                                 : launch(make_bits, grid, stream_, &failure, logits_.as<uint16_t>(), n, type == Dtype::float16);
    if (status != Status::ok) stop("a kernel", failure.message);
  }

  cudaStream_t stream_ = nullptr;
  cuda::Temporary logits_, other_;
  Timer timer_;
  int repetitions_;
};

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc == 2 && std::strcmp(argv[1], "--quick") == 0;
  if (argc > 1 && !quick) {
    std::fprintf(stderr, "usage: %s [--quick]\n", argv[0]);
    return 2;
  }
  cudaDeviceProp device;
  need(cudaGetDeviceProperties(&device, 0), "the device");
  size_t unused = 0, total = 0;
  need(cudaMemGetInfo(&unused, &total), "device memory");
  // 4 GiB of logits where there is room for them twice.
  const int64_t elements = std::min<int64_t>(int64_t{1} << (quick ? 24 : 30), static_cast<int64_t>(unused / 10) / 4 * 4);
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  std::printf("{\n  \"device\": \"%s\", \"computeCapability\": %d, \"multiprocessors\": %d, \"memoryMiB\": %zu, \"driver\": %d, \"runtime\": %d,\n"
              "  \"measurements\": [",
              device.name, device.major * 10 + device.minor, device.multiProcessorCount, total >> 20, driver, runtime);
  Bench bench(elements * 4, quick ? 4 : 30);
  bool first = true;
  for (const Case& c : cases)
    for (const int64_t vocab : vocabularies)
      for (const double masked : masked_shares) {
        if (quick && masked > 0) continue;
        bench.run(c, vocab, std::min<int64_t>(65536, elements / vocab), masked, first);
      }
  std::printf("\n  ]\n}\n");
  return 0;
}
