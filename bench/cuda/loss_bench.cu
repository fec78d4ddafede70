// How fast the kernels of the loss are on this device: time by events, medians of interleaved repetitions, beside a copy of as many bytes on the
// same device in the same run. Logits are made anew before each repetition, outside the time. Prints one JSON object.
//   loss_bench [--quick] [--elements N]
// N: the most logits of a case, by default 2^30. Left out: vocabularies that are larger, masks that leave no row.
#include <cmath>

#include "../../native/loss/cuda_loss.h"
#include "bench_device.h"

namespace {

using namespace echo;
using bench::BesideCopy;
using bench::need;

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

class LossBench {
 public:
  LossBench(int64_t bytes, int repetitions) : repetitions_(repetitions) {
    need(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
    CudaFailure failure{};
    need(logits_.reserve(bytes, stream_, &failure), failure, "device memory");
    need(other_.reserve(bytes, stream_, &failure), failure, "device memory");
  }

  void run(const Case& c, int64_t vocab, int64_t rows, double masked, bench::Report& report) {
    std::vector<int32_t> targets(static_cast<size_t>(rows));
    std::vector<float> action(targets.size(), 0.0f), observation(targets.size(), 0.0f), advantage(targets.size(), 0.7f), old(targets.size(), -9.0f);
    int64_t weighted_rows = 0;
    for (size_t i = 0; i < targets.size(); i++) {
      targets[i] = static_cast<int32_t>((i * 7919) % static_cast<size_t>(vocab));
      // Spread evenly, so that every part of the device has its share.
      const bool weighted = static_cast<int64_t>((static_cast<double>(i) + 1) * (1 - masked)) > static_cast<int64_t>(static_cast<double>(i) * (1 - masked));
      weighted_rows += weighted;
      if (weighted) (i % 2 ? action : observation)[i] = 1e-3f;
      else if (c.logprobs) targets[i] = -1;
    }
    if (weighted_rows == 0) return;
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
    need(c.logprobs ? log_blocks.begin(call, read, &failure) : blocks.begin(call, args, &failure), failure, "the rows");
    const int64_t elements = rows * vocab, bytes = elements * dtype_size(c.type);
    const BesideCopy times = bench::measure_beside_copy(
        stream_, repetitions_, [&] { bench::draw_numbers(c.type, logits_.as<void>(), elements, 3, stream_); },
        [&] {
          need(c.logprobs ? log_blocks.add(logits_.as<void>(), 0, rows, &failure) : blocks.add(logits_.as<void>(), 0, rows, &failure), failure,
               "a kernel");
        },
        [&] { bench::copy_on_device(other_.as<void>(), logits_.as<void>(), bytes, stream_); });
    need(c.logprobs ? log_blocks.finish(read, &failure) : blocks.finish(args, &failure), failure, "the totals");
    // Rows without weight are not read; all are written.
    const int64_t moved = weighted_rows * vocab * dtype_size(c.type) + (c.logprobs ? 0 : elements * dtype_size(c.gradient_type));
    char sizes[128];
    std::snprintf(sizes, sizeof sizes, "\"vocab\": %" PRId64 ", \"rows\": %" PRId64 ", \"masked\": %g", vocab, rows, masked);
    report.add(c.name, c.type, c.gradient_type, sizes, times, moved, 2 * bytes);
  }

 private:
  cudaStream_t stream_ = nullptr;
  cuda::Temporary logits_, other_;
  int repetitions_;
};

}  // namespace

int main(int argc, char** argv) {
  constexpr int64_t least = vocabularies[0];
  const bench::Options options = bench::parse_options(argc, argv, least);
  // Logits, and as many bytes for their copy.
  const int64_t asked = options.elements > 0 ? options.elements : int64_t{1} << (options.quick ? 24 : 30);
  const int64_t elements = bench::elements_in_memory(asked, 2 * dtype_size(Dtype::float32), least);
  LossBench loss(elements * dtype_size(Dtype::float32), options.quick ? 4 : 30);
  bench::Report report;
  for (const Case& c : cases)
    for (const int64_t vocab : vocabularies)
      for (const double masked : masked_shares) {
        if (vocab > elements || (options.quick && masked > 0)) continue;
        loss.run(c, vocab, std::min<int64_t>(65536, elements / vocab), masked, report);
      }
  report.end();
  return 0;
}
