// native/loss/echo_loss.cu on fibers, against the float64 reference: shapes around every edge of its loops, unusual rows, three kinds of
// schedule. With `--delete-barrier N reversed|random` that barrier does nothing and only that schedule runs: it must report failures.
#include "cuda_shim.h"

#include "../../../native/loss/echo_loss.cu"

#include <cinttypes>

#include "../reference.h"

namespace {

using cuda_shim::Launch;
using cuda_shim::Schedule;

int deleted_barrier = 0;
Schedule deleted_schedule = Schedule::random;
int failures = 0;
double worst_logprob = 0, worst_gradient = 0;

#define CHECK(condition, ...)                       \
  do {                                              \
    if (!(condition) && failures++ < 10) {          \
      std::fprintf(stderr, "FAILED %s: ", #condition); \
      std::fprintf(stderr, __VA_ARGS__);            \
      std::fprintf(stderr, "\n");                   \
    }                                               \
  } while (0)

constexpr float canary = -12345.0f;

struct Batch {
  int64_t rows, vocab, ld, offset;
  float temperature, log_ratio_clamp, grad_scale;
  bool on_policy;
  bool poisoned_target;  // one weighted row has a target out of range
  std::vector<float> memory, action, observation, advantage, old;
  std::vector<int32_t> targets;
};

// Row r is of kind r % 16: see the switch.
Batch make_batch(int64_t rows, int64_t vocab, int64_t ld, int64_t offset, unsigned seed) {
  Batch b{rows, vocab, ld, offset, seed % 2 ? 0.8f : 1.0f, seed % 3 ? 20.0f : INFINITY, seed % 5 ? 1.0f : 64.0f,
          seed % 4 == 3, false, {}, {}, {}, {}, {}, {}};
  std::mt19937 random(seed);
  auto uniform = [&](float low, float high) {
    return low + (high - low) * static_cast<float>(random() >> 8) / 16777216.0f;
  };
  b.memory.assign(static_cast<size_t>(offset + rows * ld + 8), canary);
  for (int64_t r = 0; r < rows; r++) {
    float* x = &b.memory[static_cast<size_t>(offset + r * ld)];
    for (int64_t j = 0; j < vocab; j++) x[j] = uniform(-8, 8);
    int64_t y = static_cast<int64_t>(random() % static_cast<unsigned>(vocab));
    // Where the log-probability is of the order of 1e38, its rounding decides any ratio.
    const bool is_action = random() % 2 == 0 && r % 16 != 10;
    float weight = uniform(0.01f, 0.5f);
    switch (r % 16) {
      case 0: y = 0; break;
      case 1: y = vocab - 1; break;
      case 2:
        for (int64_t j = 0; j < vocab; j++) x[j] = NAN;
        weight = 0;
        break;
      case 3:
        for (int64_t j = 0; j < vocab; j++)
          if (j != y && j % 3 == 0) x[j] = -INFINITY;
        break;
      case 4:
        for (int64_t j = 0; j < vocab; j++)
          if (j != y) x[j] = -INFINITY;
        break;
      case 5:
        for (int64_t j = 0; j < vocab; j++) x[j] = -INFINITY;
        break;
      case 6: x[y] = -INFINITY; break;
      case 7: x[vocab / 2] = NAN; break;
      case 8: x[vocab - 1] = INFINITY; break;
      case 9:
        for (int64_t j = 0; j < vocab; j++) x[j] += 1e6f;
        break;
      case 10:
        x[0] = 1e38f;
        x[vocab - 1] = -1e38f;
        break;
      case 11: x[y] = 30; break;
      case 12: x[y] = -90; break;
      case 13:
        for (int64_t j = 0; j < vocab; j++) x[j] = -2.5f;
        break;
      case 14:
        weight = 0;
        y = -100;
        break;
      default: break;
    }
    b.targets.push_back(static_cast<int32_t>(y));
    b.action.push_back(is_action ? weight : 0);
    b.observation.push_back(is_action ? 0 : weight);
    b.advantage.push_back(random() % 5 == 0 ? 0 : uniform(-3, 3));
    // Ratios on both sides of each clip edge, near 1, and beyond the clamp; the old value is relative to this row's own log-probability.
    static const float ratios[] = {1.0f, 0.79f, 0.81f, 1.19f, 1.21f, 0.2f, 6.0f, 1e-10f, 1e10f};
    double logprob = 0;
    if (y >= 0) {
      const reference::Input in{x, vocab, y, 1, 0, 0, 0, true, b.temperature, 0.2, 0.2, 20, 1};
      logprob = reference::row(in).logprob;
    }
    b.old.push_back(std::isfinite(logprob) ? static_cast<float>(logprob - std::log(ratios[random() % 9])) : -1.0f);
  }
  return b;
}

struct Result {
  std::vector<float> memory, logprobs;
  std::vector<echo::cuda::DeviceRow> rows;
};

template <int threads>
Result run(const Batch& b, unsigned blocks, Schedule schedule, unsigned seed) {
  Result result{b.memory, std::vector<float>(static_cast<size_t>(b.rows), canary),
                std::vector<echo::cuda::DeviceRow>(static_cast<size_t>(b.rows))};
  echo::EchoLossArgs args{};
  args.logits = result.memory.data() + b.offset;
  args.rows = b.rows;
  args.vocab = b.vocab;
  args.ld = b.ld;
  args.targets = b.targets.data();
  args.action_weights = b.action.data();
  args.observation_weights = b.observation.data();
  args.advantages = b.advantage.data();
  args.old_logprobs = b.on_policy ? nullptr : b.old.data();
  args.temperature = b.temperature;
  args.epsilon_low = 0.2f;
  args.epsilon_high = 0.2f;
  args.log_ratio_clamp = b.log_ratio_clamp;
  args.grad_scale = b.grad_scale;
  args.dual_clip = INFINITY;
  args.nll_at_one = true;
  args.logprobs = result.logprobs.data();
  cuda_shim::launch(Launch{blocks, threads, schedule, seed, deleted_barrier},
                    [&] { echo::cuda::echo_loss_rows<threads>(args, result.rows.data()); });
  return result;
}

bool close(double actual, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected)) return actual == expected;
  return std::abs(actual - expected) <= tolerance;
}

void compare(const Batch& b, const Result& result, const char* name) {
  for (int64_t r = 0; r < b.rows; r++) {
    const size_t i = static_cast<size_t>(r);
    const echo::cuda::DeviceRow& row = result.rows[i];
    const float* g = &result.memory[static_cast<size_t>(b.offset + r * b.ld)];
    for (int64_t j = b.vocab; j < b.ld; j++)
      CHECK(g[j] == 0 && !std::signbit(g[j]), "%s row %" PRId64 " column %" PRId64 " beyond vocab", name, r, j);
    if (b.action[i] == 0 && b.observation[i] == 0) {
      for (int64_t j = 0; j < b.vocab; j++)
        CHECK(g[j] == 0 && !std::signbit(g[j]), "%s weightless row %" PRId64 " column %" PRId64, name, r, j);
      CHECK(!row.weighted && result.logprobs[i] == 0, "%s weightless row %" PRId64, name, r);
      continue;
    }
    const reference::Input in{&b.memory[static_cast<size_t>(b.offset + r * b.ld)], b.vocab, b.targets[i],
                              b.action[i], b.observation[i], b.advantage[i], b.old[i], b.on_policy, b.temperature,
                              0.2f, 0.2f, b.log_ratio_clamp, b.grad_scale};
    const reference::Row want = reference::row(in);
    // Relative to the log-probability, not to the logits: a common shift of 1e6 costs nothing.
    const double tolerance = 2e-6 + 2e-7 * (std::isfinite(want.logprob) ? std::abs(want.logprob) : 0.0);
    CHECK(row.weighted && close(row.logprob, want.logprob, tolerance) &&
              memcmp(&result.logprobs[i], &row.logprob, sizeof(float)) == 0,
          "%s row %" PRId64 ": logprob %.9g, reference %.9g", name, r, row.logprob, want.logprob);
    CHECK(row.nonfinite == !std::isfinite(want.logprob) && row.empty == want.empty, "%s row %" PRId64, name, r);
    if (std::isfinite(want.logprob))
      worst_logprob = std::max(worst_logprob, std::abs(row.logprob - want.logprob) / (1 + std::abs(want.logprob)));
    if (!want.empty) {
      CHECK(close(row.ratio, want.ratio, want.ratio * (tolerance + 2e-6)), "%s row %" PRId64 ": ratio %.9g, reference %.9g",
            name, r, row.ratio, want.ratio);
      CHECK(close(row.surrogate, want.surrogate, std::abs(want.surrogate) * (tolerance + 2e-6) + 1e-7),
            "%s row %" PRId64 ": surrogate %.9g, reference %.9g", name, r, row.surrogate, want.surrogate);
      CHECK(row.clipped_low == want.clipped_low && row.clipped_high == want.clipped_high, "%s row %" PRId64, name, r);
      if (b.observation[i] != 0)
        CHECK(close(row.nll_at_one, want.nll_at_one, tolerance + 2e-7 * std::abs(want.nll_at_one)),
              "%s row %" PRId64 ": nll at 1 %.9g, reference %.9g", name, r, row.nll_at_one, want.nll_at_one);
    }
    for (int64_t j = 0; j < b.vocab; j++) {
      const double expected = want.gradient[static_cast<size_t>(j)];
      CHECK(close(g[j], expected, (tolerance + 3e-6) * want.scale),
            "%s row %" PRId64 " column %" PRId64 ": gradient %.9g, reference %.9g", name, r, j, g[j], expected);
      if (std::isfinite(expected) && want.scale > 0)
        worst_gradient =
            std::max(worst_gradient, std::abs(g[j] - expected) / want.scale / (1 + std::abs(want.logprob)));
    }
  }
  for (int64_t j = 0; j < b.offset; j++) CHECK(result.memory[static_cast<size_t>(j)] == canary, "%s wrote before", name);
  for (size_t j = static_cast<size_t>(b.offset + b.rows * b.ld); j < result.memory.size(); j++)
    CHECK(result.memory[j] == canary, "%s wrote after", name);
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <int threads>
void check(int64_t rows, int64_t vocab, int64_t ld, int64_t offset, unsigned blocks, unsigned seed) {
  char name[128];
  std::snprintf(name, sizeof name, "%d threads, %u blocks, rows %" PRId64 ", vocab %" PRId64 ", ld %" PRId64 ", offset %" PRId64,
                threads, blocks, rows, vocab, ld, offset);
  const Batch batch = make_batch(rows, vocab, ld, offset, seed);
  if (deleted_barrier != 0) {
    compare(batch, run<threads>(batch, blocks, deleted_schedule, seed), name);
    return;
  }
  const Result first = run<threads>(batch, blocks, Schedule::in_order, 0);
  compare(batch, first, name);
  for (unsigned k = 0; k < (threads > 64 ? 2 : 5); k++) {
    const Result other = k == 0 ? run<threads>(batch, blocks, Schedule::reversed, 0)
                         : k == 1 ? run<threads>(batch, blocks + 2, Schedule::random, 99)
                                  : run<threads>(batch, blocks, Schedule::random, seed * 10 + k);
    CHECK(same_bits(first.memory, other.memory) && same_bits(first.logprobs, other.logprobs),
          "%s: schedule %u gives other bits", name, k);
  }
}

void check_bad_target() {
  Batch b = make_batch(2, 50, 50, 0, 1);
  b.action = {0.1f, 0.1f};
  b.observation = {0, 0};
  b.targets = {50, 3};
  const Result result = run<64>(b, 1, Schedule::random, 1);
  CHECK(std::isnan(result.logprobs[0]) && result.rows[0].nonfinite, "target out of range");
  for (int j = 0; j < 50; j++) CHECK(result.memory[static_cast<size_t>(j)] == 0, "target out of range: column %d", j);
  CHECK(std::isfinite(result.logprobs[1]), "the row after a target out of range");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--delete-barrier") {
    deleted_barrier = std::atoi(argv[2]);
    if (std::string(argv[3]) == "reversed") deleted_schedule = Schedule::reversed;
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: %s [--delete-barrier N reversed|random]\n", argv[0]);
    return 2;
  }
  unsigned seed = 1;
  for (int64_t vocab : {1, 2, 3, 4, 5, 31, 64, 127, 255, 256, 257, 1000})
    for (int64_t offset : {0, 1}) {
      check<64>(16, vocab, vocab + (seed % 3 == 0 ? 5 : 0), offset, 1 + seed % 3, seed);
      seed++;
    }
  if (deleted_barrier == 0) {
    check<32>(16, 300, 300, 0, 2, seed++);
    check<512>(32, 4099, 4104, 0, 3, seed++);
    check<1024>(16, 8200, 8200, 0, 1, seed++);
    check_bad_target();
  }
  std::printf("echo_loss.cu on fibers: %d failures; worst error of logprob %.2g, of gradient %.2g (relative)\n", failures,
              worst_logprob, worst_gradient);
  return failures == 0 ? 0 : 1;
}
