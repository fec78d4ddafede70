#include "placed_calls.h"

namespace echo::addon {
namespace {

// A tensor of the host in device memory for the length of a call.
class Staged {
 public:
  ~Staged() {
    CudaFailure ignored{};
    if (device_ != nullptr) cuda_api()->release(&call_, device_, &ignored);
  }

  // Nothing to do for tensors that are on a device, and for none. `tensor` becomes the address there.
  template <typename T>
  Status enter(const Place& place, T*& tensor, int64_t bytes, CudaFailure* failure) {
    if (!place.uploads() || tensor == nullptr || bytes == 0) return Status::ok;
    call_ = place.call();
    host_ = const_cast<void*>(static_cast<const void*>(tensor));
    bytes_ = bytes;
    Status status = cuda_api()->allocate(&call_, bytes, &device_, failure);
    if (status == Status::ok) status = cuda_api()->copy_from_host(&call_, device_, host_, bytes, failure);
    tensor = static_cast<T*>(device_);
    return status;
  }

  Status leave(CudaFailure* failure) {
    return device_ == nullptr ? Status::ok : cuda_api()->copy_to_host(&call_, host_, device_, bytes_, failure);
  }

 private:
  CudaCall call_{};
  void* device_ = nullptr;
  void* host_ = nullptr;
  int64_t bytes_ = 0;
};

bool on_cuda(const Place& place, CudaFailure* failure) {
  *failure = {};
  return place.on_device() || place.uploads();
}

template <typename Args>
Status read_logits_at(const Place& place, Args args, Status (*on_cpu)(const Args&),
                      Status (*CudaApi::*entry)(const CudaCall*, const Args*, CudaFailure*), CudaFailure* failure) {
  if (!on_cuda(place, failure)) return on_cpu(args);
  const CudaCall call = place.call();
  Staged logits;
  const Status status = logits.enter(place, args.logits, args.rows * args.ld * dtype_size(args.logits_type), failure);
  return status == Status::ok ? (cuda_api()->*entry)(&call, &args, failure) : status;
}

}  // namespace

Status echo_loss_at(const Place& place, EchoLossArgs args, CudaFailure* failure) {
  if (!on_cuda(place, failure)) return echo_loss(args);
  const CudaCall call = place.call();
  Staged logits;
  Status status = logits.enter(place, args.logits, args.rows * args.ld * dtype_size(args.logits_type), failure);
  if (status == Status::ok) status = cuda_api()->echo_loss(&call, &args, failure);
  return status == Status::ok ? logits.leave(failure) : status;
}

Status token_logprobs_at(const Place& place, TokenLogprobsArgs args, CudaFailure* failure) {
  return read_logits_at(place, args, token_logprobs, &CudaApi::token_logprobs, failure);
}

Status vocab_statistics_at(const Place& place, VocabStatisticsArgs args, CudaFailure* failure) {
  return read_logits_at(place, args, vocab_statistics, &CudaApi::vocab_statistics, failure);
}

Status linear_echo_loss_at(const Place& place, LinearLossArgs args, CudaFailure* failure) {
  if (!on_cuda(place, failure)) return linear_echo_loss(args);
  const CudaCall call = place.call();
  const int64_t hidden_bytes = args.rows * args.weight.width * dtype_size(args.hidden_type);
  const int64_t weights = args.weight.vocab * args.weight.width;
  const bool in_place = args.hidden_gradient == args.hidden;
  Staged weight, hidden, hidden_gradient, weight_gradient;
  Status status = weight.enter(place, args.weight.values, weights * dtype_size(args.weight.type), failure);
  if (status == Status::ok) status = hidden.enter(place, args.hidden, hidden_bytes, failure);
  if (in_place) args.hidden_gradient = const_cast<void*>(args.hidden);
  else if (status == Status::ok) status = hidden_gradient.enter(place, args.hidden_gradient, hidden_bytes, failure);
  if (status == Status::ok) status = weight_gradient.enter(place, args.weight_gradient, weights * 4, failure);
  if (status == Status::ok) status = cuda_api()->linear_echo_loss(&call, &args, failure);
  if (status == Status::ok) status = (in_place ? hidden : hidden_gradient).leave(failure);
  return status == Status::ok ? weight_gradient.leave(failure) : status;
}

Status linear_token_logprobs_at(const Place& place, LinearLogprobsArgs args, CudaFailure* failure) {
  if (!on_cuda(place, failure)) return linear_token_logprobs(args);
  const CudaCall call = place.call();
  Staged weight, hidden;
  Status status = weight.enter(place, args.weight.values, args.weight.vocab * args.weight.width * dtype_size(args.weight.type), failure);
  if (status == Status::ok) status = hidden.enter(place, args.hidden, args.rows * args.weight.width * dtype_size(args.hidden_type), failure);
  return status == Status::ok ? cuda_api()->linear_token_logprobs(&call, &args, failure) : status;
}

}  // namespace echo::addon
