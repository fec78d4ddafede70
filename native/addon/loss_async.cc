#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "../loss/echo_loss.h"
#include "../loss/sequence_log_ratios.h"
#include "../loss/token_logprobs.h"
#include "async.h"
#include "checked.h"
#include "host_memory.h"
#include "loss_args.h"
#include "placed_calls.h"
#include "register.h"

namespace echo::addon {
namespace {

// What keeps the logits where they are until the job is over.
struct HeldLogits {
  Place place;
  HeldArray array;

  // `memory`: what createHostMemory returned, or null.
  bool hold(Napi::Value memory, Napi::Value block_object, const LogitsBlock& block) {
    place = block.place;
    if (place.on_device()) return true;
    return array.hold(memory, block_object.As<Napi::Object>().Get("logits").As<Napi::TypedArray>(), block.logits, block.bytes);
  }
};

// Row vectors of a job, copied: the caller may use its own again at once.
class RowCopies {
 public:
  bool reserve(int64_t rows, int64_t vectors) {
    rows_ = rows;
    return memory_.reserve(rows * vectors + 1);
  }

  template <typename T>
  T* make() {
    static_assert(sizeof(T) == sizeof(float));
    return reinterpret_cast<T*>(memory_.data() + rows_ * used_++);
  }

  template <typename T>
  void copy(const T*& values) {
    if (values == nullptr) return;
    T* const own = make<T>();
    if (rows_ > 0) std::memcpy(own, values, static_cast<size_t>(rows_) * sizeof(T));
    values = own;
  }

 private:
  Buffer<float> memory_;
  int64_t rows_ = 0;
  int64_t used_ = 0;
};

// A new Float32Array; empty when JavaScript is already forbidden.
Napi::Value float_array(Napi::Env env, const float* values, int64_t count) {
  if (values == nullptr) return env.Null();
  void* data = nullptr;
  napi_value buffer = nullptr, array = nullptr;
  const size_t length = static_cast<size_t>(count);
  if (napi_create_arraybuffer(env, length * sizeof(float), &data, &buffer) != napi_ok) return Napi::Value();
  if (length > 0) std::memcpy(data, values, length * sizeof(float));
  if (napi_create_typedarray(env, napi_float32_array, length, buffer, 0, &array) != napi_ok) return Napi::Value();
  return Napi::Value(env, array);
}

class EchoLossJob final : public AsyncJob {
 public:
  using AsyncJob::AsyncJob;

  // False after throwing.
  bool prepare(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    LogitsBlock block;
    if (!take_echo_loss(info, args_, block) || !held_.hold(info[4], info[0], block)) return false;
    View<int32_t> boundaries;
    const Napi::Value sequences = info[1].As<Napi::Object>().Get("cuSeqLens");
    if (!take_optional(sequences, "cuSeqLens", -1, boundaries)) return false;
    constexpr int64_t vectors = 8 + 3;
    if (!rows_.reserve(args_.rows, vectors) || !boundaries_.reserve(boundaries.length + 1))
      return check_status(env, "echoLossAsync", Status::out_of_memory);
    rows_.copy(args_.targets);
    rows_.copy(args_.action_weights);
    rows_.copy(args_.observation_weights);
    rows_.copy(args_.advantages);
    rows_.copy(args_.old_logprobs);
    rows_.copy(args_.rollout_weights);
    rows_.copy(args_.reference_logprobs);
    args_.logprobs = rows_.make<float>();
    if (info[3].ToBoolean().Value()) args_.entropies = rows_.make<float>();
    args_.totals = &totals_;
    if (sequences.IsNull() || sequences.IsUndefined()) {
      rows_.copy(args_.log_ratios);
      return true;
    }
    if (boundaries.length > 0)
      std::memcpy(boundaries_.data(), boundaries.data, static_cast<size_t>(boundaries.length) * sizeof(int32_t));
    sequences_ = boundaries.length - 1;
    log_ratios_ = rows_.make<float>();
    targets_of_actions_ = rows_.make<int32_t>();
    return check_sequences(env);
  }

  void run() override {
    status_ = log_ratios_ == nullptr ? Status::ok : measure_log_ratios();
    if (status_ == Status::ok) status_ = echo_loss_at(held_.place, args_, &failure_);
  }

  void deliver(Napi::Env env) override {
    if (status_ != Status::ok) return fail(env, "echoLossAsync", status_, failure_);
    const Napi::Value logprobs = float_array(env, args_.logprobs, args_.rows);
    const Napi::Value entropies = float_array(env, args_.entropies, args_.rows);
    if (!logprobs.IsEmpty() && !entropies.IsEmpty())
      done_.Call({env.Null(), totals_object(env, totals_, args_), logprobs, entropies});
  }

 private:
  bool check_sequences(Napi::Env env) const {
    bool fits = sequences_ >= 0 && boundaries_[0] == 0 && boundaries_[sequences_] == args_.rows && args_.old_logprobs != nullptr;
    for (int64_t i = 0; i < sequences_; i++) fits = fits && boundaries_[i] <= boundaries_[i + 1];
    return fits || throw_error(env, "ERR_OUT_OF_RANGE", "[native] cuSeqLens: expected ascending boundaries of all rows, and oldLogprobs.");
  }

  Status measure_log_ratios() {
    for (int64_t i = 0; i < args_.rows; i++) targets_of_actions_[i] = args_.action_weights[i] == 0 ? -1 : args_.targets[i];
    TokenLogprobsArgs logprobs{};
    logprobs.logits = args_.logits;
    logprobs.logits_type = args_.logits_type;
    logprobs.rows = args_.rows;
    logprobs.vocab = args_.vocab;
    logprobs.ld = args_.ld;
    logprobs.targets = targets_of_actions_;
    logprobs.temperature = args_.temperature;
    logprobs.logit_softcap = args_.logit_softcap;
    logprobs.logprobs = args_.logprobs;
    const Status status = token_logprobs_at(held_.place, logprobs, &failure_);
    if (status != Status::ok) return status;
    sequence_log_ratios({sequences_, boundaries_.data(), args_.action_weights, args_.logprobs, args_.old_logprobs, log_ratios_});
    args_.log_ratios = log_ratios_;
    return Status::ok;
  }

  HeldLogits held_;
  RowCopies rows_;
  Buffer<int32_t> boundaries_;
  EchoLossArgs args_{};
  EchoLossTotals totals_{};
  int64_t sequences_ = 0;
  float* log_ratios_ = nullptr;
  int32_t* targets_of_actions_ = nullptr;
  Status status_ = Status::ok;
  CudaFailure failure_{};
};

class TokenLogprobsJob final : public AsyncJob {
 public:
  using AsyncJob::AsyncJob;

  bool prepare(const Napi::CallbackInfo& info) {
    LogitsBlock block;
    if (!take_reading(info, args_, block) || !held_.hold(info[4], info[0], block)) return false;
    if (!rows_.reserve(args_.rows, 3)) return check_status(info.Env(), "tokenLogprobsAsync", Status::out_of_memory);
    rows_.copy(args_.targets);
    args_.logprobs = rows_.make<float>();
    if (info[3].ToBoolean().Value()) args_.entropies = rows_.make<float>();
    return true;
  }

  void run() override { status_ = token_logprobs_at(held_.place, args_, &failure_); }

  void deliver(Napi::Env env) override {
    if (status_ != Status::ok) return fail(env, "tokenLogprobsAsync", status_, failure_);
    const Napi::Value logprobs = float_array(env, args_.logprobs, args_.rows);
    const Napi::Value entropies = float_array(env, args_.entropies, args_.rows);
    if (!logprobs.IsEmpty() && !entropies.IsEmpty()) done_.Call({env.Null(), logprobs, entropies});
  }

 private:
  HeldLogits held_;
  RowCopies rows_;
  TokenLogprobsArgs args_{};
  Status status_ = Status::ok;
  CudaFailure failure_{};
};

}  // namespace

// Of both: (block, rows or targets, options, entropies: boolean, memory | null, done): ticket
void register_loss_async(Napi::Env env, Napi::Object exports) {
  exports.Set("echoLossAsync", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return submit_job<EchoLossJob>(info, 5); }, "echoLossAsync"));
  exports.Set("tokenLogprobsAsync", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return submit_job<TokenLogprobsJob>(info, 5); }, "tokenLogprobsAsync"));
}

}  // namespace echo::addon
