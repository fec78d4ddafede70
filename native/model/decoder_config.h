// Shape of a Qwen3-architecture decoder.
#pragma once

#include <cstdint>

namespace echo {

struct DecoderConfig {
  int64_t vocab;
  int64_t hidden;
  int64_t intermediate;
  int64_t layers;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  double rope_theta;
  float rms_norm_eps;
  bool tied;
  int64_t max_positions;

  int64_t q_width() const { return heads * head_dim; }
  int64_t qk_width() const { return (heads + kv_heads) * head_dim; }
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
};

}  // namespace echo
