"""The embedded decoder's architecture (Qwen3) in PyTorch, eager and float32: training on padded batches, sampling with a key-value cache."""

import base64

import torch
import torch.nn.functional as F


class Decoder:
    def __init__(self, config, parameters, trainable):
        self.config = config
        self.weights = {}
        for name, shape, encoded in parameters:
            values = torch.frombuffer(bytearray(base64.b64decode(encoded)), dtype=torch.float32).reshape(shape)
            self.weights[name] = values.clone().requires_grad_(trainable)
        half = config["headDim"] // 2
        inverse = config["ropeTheta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(config["maxPositions"], dtype=torch.float64)[:, None] * inverse
        angles = torch.cat([angles, angles], -1)
        self.cos, self.sin = angles.cos().float(), angles.sin().float()

    def norm(self, x, name):
        return F.rms_norm(x, x.shape[-1:], self.weights[name], self.config["rmsNormEps"])

    def rotate(self, x, start):
        end = start + x.shape[-2]
        low, high = x.chunk(2, -1)
        return x * self.cos[start:end] + torch.cat([-high, low], -1) * self.sin[start:end]

    def hidden(self, ids, cache=None, start=0):
        """[batch, length] to [batch, length, hidden]. `cache`: keys and values of every layer, which hold `start` positions."""
        config, weights = self.config, self.weights
        batch, length = ids.shape
        x = F.embedding(ids, weights["model.embed_tokens.weight"])
        mask = None
        if cache is not None and length > 1:
            positions = torch.arange(start + length)
            mask = positions[None, :] <= positions[start:, None]
        for layer in range(config["numLayers"]):
            at = f"model.layers.{layer}."

            def heads(projection, count):
                y = F.linear(h, weights[f"{at}self_attn.{projection}_proj.weight"])
                return y.view(batch, length, count, config["headDim"])

            h = self.norm(x, f"{at}input_layernorm.weight")
            q = self.norm(heads("q", config["numHeads"]), f"{at}self_attn.q_norm.weight").transpose(1, 2)
            k = self.norm(heads("k", config["numKvHeads"]), f"{at}self_attn.k_norm.weight").transpose(1, 2)
            v = heads("v", config["numKvHeads"]).transpose(1, 2)
            q, k = self.rotate(q, start), self.rotate(k, start)
            if cache is not None:
                keys, values = cache[layer]
                keys[:, :, start:start + length] = k
                values[:, :, start:start + length] = v
                k, v = keys[:, :, :start + length], values[:, :, :start + length]
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=cache is None, enable_gqa=True)
            x = x + F.linear(attended.transpose(1, 2).flatten(2), weights[f"{at}self_attn.o_proj.weight"])
            h = self.norm(x, f"{at}post_attention_layernorm.weight")
            gate = F.silu(F.linear(h, weights[f"{at}mlp.gate_proj.weight"]))
            x = x + F.linear(gate * F.linear(h, weights[f"{at}mlp.up_proj.weight"]), weights[f"{at}mlp.down_proj.weight"])
        return x

    def logits(self, hidden):
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return F.linear(self.norm(hidden, "model.norm.weight"), head)


def make_training(request):
    """Forward, ECHO loss on policy, backward. Sequences are sorted by length, so that batches hold little padding."""
    decoder = Decoder(request["config"], request["parameters"], trainable=True)
    bounds = request["cuSeqLens"]
    fields = {name: torch.tensor(request[name]) for name in ("ids", "targets", "actionWeights", "observationWeights")}
    spans = sorted(zip(bounds[:-1], bounds[1:]), key=lambda span: span[1] - span[0])
    batches = []
    for first in range(0, len(spans), request["batch"]):
        group = spans[first:first + request["batch"]]
        longest = max(end - start for start, end in group)
        batches.append({
            name: torch.stack([F.pad(values[start:end], (0, longest - (end - start))) for start, end in group])
            for name, values in fields.items()
        })
    parameters = list(decoder.weights.values())

    def call():
        for parameter in parameters:
            parameter.grad = None
        total = 0.0
        for batch in batches:
            action, observation = batch["actionWeights"], batch["observationWeights"]
            rows = (action != 0) | (observation != 0)
            logits = decoder.logits(decoder.hidden(batch["ids"])[rows])
            logprobs = torch.log_softmax(logits, -1).gather(-1, batch["targets"][rows][:, None])[:, 0]
            ratio = torch.exp(logprobs - logprobs.detach())
            surrogate = torch.minimum(ratio, ratio.clamp(0.8, 1.2))  # every advantage is 1
            loss = -(action[rows] * surrogate).sum() - (observation[rows] * logprobs).sum()
            loss.backward()
            total += loss.item()
        return total

    loss = call()
    norm = torch.stack([parameter.grad.double().norm() for parameter in parameters]).norm()
    return call, {"loss": loss, "gradientNorm": norm.item()}


def make_sampling(request):
    """All sequences of a batch from nothing to `length` tokens, `count` new ones each pass and one token sampled after them."""
    config, batch, length, count = request["config"], request["batch"], request["length"], request["count"]
    decoder = Decoder(config, request["parameters"], trainable=False)
    shape = (batch, config["numKvHeads"], config["maxPositions"], config["headDim"])
    cache = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(config["numLayers"])]
    given = torch.tensor(request["tokens"]).view(batch, count)

    @torch.inference_mode()
    def call():
        ids, first = given, None
        for start in range(0, length, count):
            logprobs = torch.log_softmax(decoder.logits(decoder.hidden(ids, cache, start)[:, -1]), -1)
            sampled = torch.multinomial(logprobs.exp(), 1)
            chosen = logprobs.gather(-1, sampled)
            if first is None:
                first = logprobs
            if count == 1:
                ids = sampled
        return first, chosen

    first, _ = call()
    return call, {"firstLogprobs": first[0].tolist()}
