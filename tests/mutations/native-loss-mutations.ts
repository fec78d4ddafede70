import { mutationsOf } from "./mutation.js";

const OPTIONS = "loss/option-variants.test.ts";
const EDGES = "loss/echo-loss-edges.test.ts";
const SHARDS = "loss/vocab-parallel.test.ts";
const LINEAR = "loss/linear-echo-loss.test.ts";
const GOLDEN = "loss/echo-loss-golden.test.ts";
const LOSS = "loss/echo-loss.test.ts";
const TYPES = "loss/dtypes.test.ts";
const PYTORCH = "loss/objective-golden.test.ts";

export const NATIVE_LOSS_MUTATIONS = [
  ...mutationsOf("native/loss/objective.h", [
    ["on-policy", "a.old_logprobs == nullptr,", "false,", GOLDEN],
    [
      "the entropy off the target",
      "0.69314718055994530942 * row.rest_weighted",
      "0.0 * row.rest_weighted",
      OPTIONS,
    ],
    ["the temperature", "1.44269504088896340736f / temperature", "1.44269504088896340736f", OPTIONS],
    [
      "1 - p without cancellation",
      "d.complement = wide_divide(rest, d.sum);",
      "d.complement = (float)(1 - (float)(1 / d.sum));",
      LOSS,
    ],
    [
      "the sign of log p's normaliser",
      "(float)(a - wide_log(d.sum))",
      "(float)(a + wide_log(d.sum))",
      OPTIONS,
    ],
    ["a row of nothing but -inf", "if (d.empty) d.logprob = -INFINITY;", "", EDGES],
    ["the target's share of the entropy", "h -= wide_exp((Wide)d.logprob) * d.logprob;", "h -= 0;", OPTIONS],
    ["the side of the log-ratio clamp", "delta > 0 ? limit : -limit", "limit", EDGES],
    ["the lower bound of the log-ratio clamp", "delta > limit || delta < -limit", "delta > limit", EDGES],
    ["the minimum of the clipped surrogate", "v < u ? v : u;", "v > u ? v : u;", OPTIONS],
    ["no gradient where clipped", "bool flows = !(v < u);", "bool flows = true;", PYTORCH],
    [
      "the gradient at the clip edge",
      "bool flows = !(v < u);",
      "bool flows = r > s.lower && r < s.upper;",
      EDGES,
    ],
    ["no gradient outside the log-ratio clamp", "if (flows && !clamped)", "if (flows)", OPTIONS],
    [
      "the sign that dual clip looks at",
      "w.advantage < 0.0f && s.dual_clip",
      "w.advantage > 0.0f && s.dual_clip",
      OPTIONS,
    ],
    ["no gradient under dual clip", "flows = false;\n    o->clipped_dual", "o->clipped_dual", OPTIONS],
    [
      "which clip is counted",
      "} else if (!flows) {\n    o->clipped_low = r < s.lower;",
      "} else if (!flows) {\n    o->clipped_low = r > s.upper;",
      OPTIONS,
    ],
    ["the sampler's weight in the gradient", "w.action * (value * w.rollout)", "w.action * value", OPTIONS],
    [
      "the sampler's weight in the loss",
      "o->surrogate = value * w.rollout;",
      "o->surrogate = value;",
      OPTIONS,
    ],
    ["the action weight in the gradient", "w.action * (value * w.rollout)", "value * w.rollout", OPTIONS],
    [
      "the constant ratio of CISPO",
      "clipped * w.advantage * w.rollout",
      "r * w.advantage * w.rollout",
      OPTIONS,
    ],
    [
      "the sign of CISPO's loss",
      "o->surrogate = factor * logprob;",
      "o->surrogate = -factor * logprob;",
      OPTIONS,
    ],
    ["the half of k2", "o->kl = d * d / 2;", "o->kl = d * d;", OPTIONS],
    ["the slope of k2", "slope = d;", "slope = 1;", OPTIONS],
    ["the value of k3", "o->kl = growth + d;", "o->kl = growth - d;", OPTIONS],
    ["the slope of k3", "slope = -growth;", "slope = growth;", OPTIONS],
    ["the sign of the KL penalty", "o->coefficient -= w.action", "o->coefficient += w.action", PYTORCH],
    ["the KL's own clamp", "if (!outside) o->coefficient", "o->coefficient", OPTIONS],
    ["the ratio's old policy", "logprob - w.old_logprob;", "w.old_logprob - logprob;", OPTIONS],
    ["GSPO's own ratio", "w.ratio_given ? w.log_ratio : logprob", "logprob", OPTIONS],
    [
      "the sign of the cross-entropy",
      "o.coefficient += w.observation;",
      "o.coefficient -= w.observation;",
      OPTIONS,
    ],
    [
      "the target's p - 1",
      "Wide at_target = -g * d.complement;",
      "Wide at_target = g * (1 - d.complement);",
      LOSS,
    ],
    [
      "the entropy bonus off the target",
      "(entropy + wide_log(d.rest_scale));",
      "(entropy - wide_log(d.rest_scale));",
      OPTIONS,
    ],
    ["the entropy bonus at the target", "(d.logprob + entropy);", "(d.logprob - entropy);", OPTIONS],
  ]),
  ...mutationsOf("native/loss/row_kernels.cc", [
    ["the lower clip bound", "1.0f - args.epsilon_low", "1.0f - args.epsilon_high", GOLDEN],
    ["the upper clip bound", "1.0f + args.epsilon_high", "1.0f + args.epsilon_low", GOLDEN],
    [
      "1 / temperature of the gradient",
      "o.coefficient * a.grad_scale / a.temperature",
      "o.coefficient * a.grad_scale",
      OPTIONS,
    ],
    ["gradScale", "o.coefficient * a.grad_scale / a.temperature", "o.coefficient / a.temperature", OPTIONS],
    [
      "gradScale of the entropy bonus",
      "a.entropy_coefficient * a.grad_scale / a.temperature",
      "a.entropy_coefficient / a.temperature",
      OPTIONS,
    ],
    [
      "rows without weight are not read",
      "if (w.action == 0.0f && w.observation == 0.0f) {",
      "if (false) {",
      LOSS,
    ],
    ["zeros in the padding", "if (a.ld > a.vocab) memset", "if (false) memset", OPTIONS],
    ["NaN in the gradient of a NaN row", "fill(out, a.vocab, NAN);", "fill(out, a.vocab, 0.0f);", EDGES],
    [
      "the count of rows that are not finite",
      "!(d.logprob - d.logprob == 0.0f)",
      "d.logprob != d.logprob",
      EDGES,
    ],
    [
      "the temperature of nllAtOne",
      "row_distribution(row, 1.0f)",
      "row_distribution(row, a.temperature)",
      OPTIONS,
    ],
    [
      "the softcap's slope at the target",
      "f.at_target * capped_slope(row.target_logit, a.logit_softcap)",
      "f.at_target",
      OPTIONS,
    ],
    [
      "the entropy of action rows only",
      "s.entropy && w.action != 0.0f;\n  const RowObjective",
      "s.entropy;\n  const RowObjective",
      OPTIONS,
    ],
    ["where a shard begins", "a.targets[i] - a.shard->begin;", "a.targets[i];", SHARDS],
    ["whose target it is", "a.targets[i] - a.begin;", "a.targets[i];", SHARDS],
    [
      "64-bit row offsets",
      "static_cast<T*>(a.logits) + i * a.ld",
      "static_cast<T*>(a.logits) + static_cast<int32_t>(i * a.ld)",
      "native/large_blocks_test.cc",
    ],
    [
      "64-bit row offsets of log-probabilities",
      "+ i * a.ld;\n    if (scratch != nullptr && (a.logit_softcap > 0.0f || a.entropies",
      "+ static_cast<uint32_t>(i * a.ld);\n    if (scratch != nullptr && (a.logit_softcap > 0.0f || a.entropies",
      "native/large_blocks_test.cc",
    ],
  ]),
  ...mutationsOf("native/loss/row_gradient.h", [
    [
      "epochs brought to the row's maximum",
      "exponential(vec_set(p.epoch_max[epoch]), p.max, p.scale)",
      "vec_set(1.0f)",
      "native/echo_loss_test.cc",
    ],
    ["the last logits of a row that fill no vector", "if (j < end) {", "if (false) {", TYPES],
    ["the softcap's slope", "s.capped ? vec_mul(g, softcap_slope(x, s.cap)) : g", "g", OPTIONS],
    ["the entropy's bend", "vec_mul(weighted_term(a, e), s.bend)", "vec_set(0.0f)", OPTIONS],
  ]),
  ...mutationsOf("native/loss/row_statistics.h", [
    ["the target kept apart", "v = vec_replace(v, static_cast<int>(target - j), -INFINITY);", ";", OPTIONS],
    [
      "the difference before the product",
      "return vec_mul(vec_sub(x, max), scale);",
      "return vec_sub(vec_mul(x, scale), vec_mul(max, scale));",
      LOSS,
    ],
    [
      "sums rescaled to a new maximum",
      "p.sum.total = vec_mul(p.sum.total, factor);",
      "",
      "native/echo_loss_test.cc",
    ],
    [
      "the entropy's sums rescaled",
      "vec_mul(vec_madd(by, p.sum.total, p.weighted.total), factor)",
      "vec_mul(p.weighted.total, factor)",
      OPTIONS,
    ],
    ["one of four running sums", "vec_add(s.part[2], s.part[3])", "s.part[2]", OPTIONS],
    [
      "the sum over lanes",
      "for (int i = 0; i < lanes; i++) sum",
      "for (int i = 1; i < lanes; i++) sum",
      OPTIONS,
    ],
  ]),
  ...mutationsOf("native/loss/echo_loss.cc", [
    ["the sign of the policy loss", "t.policy_loss -= action", "t.policy_loss += action", OPTIONS],
    [
      "the observation weight",
      "t.observation_loss -= observation * r.logprob;",
      "t.observation_loss -= r.logprob;",
      OPTIONS,
    ],
    ["the sign of the entropy loss", "t.entropy_loss -= action", "t.entropy_loss += action", OPTIONS],
    ["the KL coefficient", "args.kl_coefficient * r.kl", "r.kl", OPTIONS],
    ["the largest ratio", "if (r.ratio > t.ratio_max)", "if (r.ratio < t.ratio_max)", OPTIONS],
    [
      "no loss of an empty row",
      "t.observation_tokens++;\n      if (!r.empty) {",
      "t.observation_tokens++;\n      {",
      EDGES,
    ],
  ]),
  ...mutationsOf("native/loss/check_loss.h", [
    ["the refusal of a stride below V", "ld < vocab || ", "", "native/echo_loss_test.cc"],
    [
      "the refusal of a target beyond V",
      "args.targets[i] >= tokens)",
      "args.targets[i] > tokens)",
      "native/echo_loss_test.cc",
    ],
  ]),
  ...mutationsOf("native/model/linear_head.cc", [
    ["the sum over blocks of the weights", "width, begin > 0}", "width, false}", LINEAR],
    ["the gradient added to", "begin * width, width, true}", "begin * width, width, false}", LINEAR],
    [
      "the place of a block's weights",
      "weight.values) + begin * weight.width;\n  const uint16_t",
      "weight.values);\n  const uint16_t",
      LINEAR,
    ],
  ]),
  ...mutationsOf("native/model/linear_loss.cc", [
    ["zeros between weighted rows only", "written = places[i] + 1;", "written = places[i];", LINEAR],
    [
      "zeros behind the last weighted row",
      "width, written, args.rows);",
      "width, args.rows, args.rows);",
      LINEAR,
    ],
    [
      "the place of a row's log-probability",
      "args.loss.logprobs[places[i]]",
      "args.loss.logprobs[i]",
      LINEAR,
    ],
  ]),
  ...mutationsOf("native/model/weighted_rows.cc", [
    [
      "rows without weight left out",
      "loss.observation_weights[row] == 0.0f) continue;",
      "loss.observation_weights[row] == 0.0f) {}",
      LINEAR,
    ],
    ["the vectors of a later chunk", "v * stride_ + begin;", "v * stride_;", LINEAR],
  ]),
];
