// KV-cached batched sampling: every slot holds the keys and values of one sequence, and a step feeds new tokens to many slots in one forward
// pass. Logits come from the row functions that training uses, so a token's log-probability has the same bits however the slots were filled.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../core/status.h"
#include "buffer.h"
#include "decoder.h"

namespace echo {

struct SamplerStep {
  int64_t entries;
  const int32_t* slots;     // [entries], distinct
  const int32_t* counts;    // [entries], >= 1; the slot's length stays within max_context
  const int32_t* tokens;    // new ids of all entries, concatenated
  const uint64_t* seeds;    // [entries]
  float temperature;
  int32_t* out_ids;         // [entries]
  float* out_logprobs;      // [entries]
};

class Sampler {
 public:
  // Null when there is no memory.
  static std::shared_ptr<Sampler> create(std::shared_ptr<Decoder> decoder, int64_t slots, int64_t max_context);

  // Status::not_finite when an entry's logits are not: nothing is sampled then, and the slots keep the tokens they were fed.
  Status step(const SamplerStep& step);

  int64_t slots() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t max_context() const { return max_context_; }
  int64_t length(int64_t slot) const { return lengths_[static_cast<size_t>(slot)]; }
  void truncate(int64_t slot, int64_t length);
  // Whether a slot holds keys and values of parameters that have since changed.
  bool stale(int64_t slot) const;
  int64_t bytes() const;

 private:
  struct Entry {
    int64_t slot;
    int64_t past;    // tokens already cached
    int64_t row;     // first row of this step
    int64_t count;
  };

  Sampler(std::shared_ptr<Decoder> decoder, int64_t slots, int64_t max_context);
  bool reserve(int64_t rows, int64_t entries, int64_t longest);
  void forward(int64_t first_entry, int64_t end_entry, const int32_t* tokens, int worker);
  void cache_rows(int64_t layer, const Entry& entry, const float* qk, const float* qkv);
  void attend(int64_t layer, const Entry& entry, const float* qk, float* out, float* scratch) const;
  // [head_dim, key_stride_] and, after it, [max_context, head_dim].
  float* cache(int64_t slot, int64_t layer, int64_t kv) {
    return cache_.data() + ((slot * decoder_->config_.layers + layer) * decoder_->config_.kv_heads + kv) * cache_size_;
  }
  const float* cache(int64_t slot, int64_t layer, int64_t kv) const { return const_cast<Sampler*>(this)->cache(slot, layer, kv); }

  std::shared_ptr<Decoder> decoder_;
  int64_t max_context_;
  int64_t key_stride_;
  int64_t cache_size_;
  std::vector<int64_t> lengths_;
  std::vector<int64_t> versions_;
  Buffer<float> cache_;

  std::vector<Entry> entries_;
  Buffer<int32_t> positions_;
  Buffer<float> x_, qkv_, qk_, out_, gate_up_, rstd_, qk_rstd_, mid_, hidden_, logits_, weights_, worker_scratch_;
  int64_t worker_stride_ = 0;
};

}  // namespace echo
