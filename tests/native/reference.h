// The objective of one row as it is written down, in float64, as slow as that is. Independent of native/loss/objective.h on purpose.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace reference {

struct Input {
  const float* logits;
  int64_t vocab;
  int64_t target;
  double action_weight, observation_weight, advantage;
  double old_logprob;
  bool on_policy;
  double temperature, epsilon_low, epsilon_high, log_ratio_clamp, grad_scale;
};

struct Row {
  double logprob = 0;
  double nll_at_one = 0;
  double ratio = 0;
  double surrogate = 0;
  bool empty = false;  // nothing but -inf
  bool clipped_low = false;
  bool clipped_high = false;
  double scale = 0;  // the largest |gradient| the weights allow: what errors are relative to
  std::vector<double> gradient;
};

inline double log_softmax(const Input& in, double temperature, std::vector<double>* probabilities) {
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < in.vocab; j++) max = std::max(max, in.logits[j] / temperature);
  double sum = 0;
  for (int64_t j = 0; j < in.vocab; j++) sum += std::exp(in.logits[j] / temperature - max);
  if (probabilities)
    for (int64_t j = 0; j < in.vocab; j++) probabilities->push_back(std::exp(in.logits[j] / temperature - max) / sum);
  return in.logits[in.target] / temperature - max - std::log(sum);
}

inline Row row(const Input& in) {
  Row out;
  out.gradient.assign(static_cast<size_t>(in.vocab), 0.0);
  if (in.action_weight == 0 && in.observation_weight == 0) return out;
  out.empty = std::all_of(in.logits, in.logits + in.vocab, [](float x) { return std::isinf(x) && x < 0; });
  if (out.empty) {
    out.logprob = -std::numeric_limits<double>::infinity();
    return out;
  }
  std::vector<double> p;
  out.logprob = log_softmax(in, in.temperature, &p);
  if (in.observation_weight != 0) out.nll_at_one = -log_softmax(in, 1.0, nullptr);
  double slope = in.observation_weight;
  double bound = in.observation_weight;
  if (in.action_weight != 0) {
    double log_ratio = in.on_policy ? 0.0 : out.logprob - in.old_logprob;
    const bool clamped = std::abs(log_ratio) > in.log_ratio_clamp;
    if (clamped) log_ratio = std::copysign(in.log_ratio_clamp, log_ratio);
    out.ratio = std::exp(log_ratio);
    const double kept = std::min(std::max(out.ratio, 1 - in.epsilon_low), 1 + in.epsilon_high);
    const double free = in.advantage == 0 ? 0 : out.ratio * in.advantage;
    const double clipped = in.advantage == 0 ? 0 : kept * in.advantage;
    out.surrogate = std::min(free, clipped);
    if (clipped < free) {
      (out.ratio < 1 ? out.clipped_low : out.clipped_high) = true;
    } else if (!clamped) {
      slope += in.action_weight * free;
    }
    bound += in.action_weight * std::abs(in.advantage) * std::max(1.0, out.ratio);
  }
  out.scale = bound * in.grad_scale / in.temperature;
  for (int64_t j = 0; j < in.vocab; j++)
    out.gradient[static_cast<size_t>(j)] =
        in.grad_scale * slope / in.temperature * (p[static_cast<size_t>(j)] - (j == in.target ? 1.0 : 0.0));
  return out;
}

}  // namespace reference
