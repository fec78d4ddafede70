"""Writes tests/golden/qwen3/: tiny Qwen3ForCausalLM models as transformers saves them, with their logits, log-probabilities and
gradients in float64 (transformers itself computes norms, rotary angles and softmax in float32).

    pip install torch transformers safetensors
    python tests/golden/make_qwen3_golden.py

Per case: a Hugging Face directory, case.json (ids, boundaries, targets, row weights) and expected.safetensors (logits [T, V], logprobs [T] of
the next token, loss [1], grad.<parameter>). The loss is sum over rows of weight * -log p(target).
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

OUT = Path(__file__).parent / "qwen3"

CASES = {
    # Grouped-query attention 4:2, tied head, several packed sequences, one of them a single token.
    "tied-packed": dict(
        lengths=[7, 1, 19, 12], max_shard_size="5GB",
        config=dict(hidden_size=32, intermediate_size=56, head_dim=8, num_attention_heads=4, num_key_value_heads=2,
                    tie_word_embeddings=True, rope_theta=10000.0)),
    # heads * headDim differs from hidden, odd widths, another rotary base, untied head, one sequence.
    "untied-single": dict(
        lengths=[37], max_shard_size="5GB",
        config=dict(hidden_size=36, intermediate_size=50, head_dim=12, num_attention_heads=4, num_key_value_heads=2,
                    tie_word_embeddings=False, rope_theta=1000000.0)),
    # One key-value head, wider, untied, saved in shards.
    "untied-sharded": dict(
        lengths=[33, 5], max_shard_size="60KB",
        config=dict(hidden_size=48, intermediate_size=64, head_dim=16, num_attention_heads=3, num_key_value_heads=1,
                    tie_word_embeddings=False, rope_theta=10000.0)),
}


def randomise(model, generator):
    """Weights large enough that attention is far from uniform, and norm gains that are not 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            value = 1 + 0.3 * noise if name.endswith("norm.weight") else noise * (1.5 / parameter.shape[-1] ** 0.5)
            parameter.copy_(value.float())


def make_case(name, lengths, max_shard_size, config):
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    config = Qwen3Config(vocab_size=97, num_hidden_layers=2, max_position_embeddings=64, rms_norm_eps=1e-6,
                         attn_implementation="eager", **config)
    model = Qwen3ForCausalLM(config).eval()
    randomise(model, generator)
    directory = OUT / name
    model.save_pretrained(directory, max_shard_size=max_shard_size)
    (directory / "generation_config.json").unlink(missing_ok=True)

    model = model.double()
    logits, targets, weights, ids, bounds = [], [], [], [], [0]
    for length in lengths:
        sequence = torch.randint(0, 97, (length,), generator=generator)
        weight = torch.rand(length, generator=generator, dtype=torch.float64).float()
        weight[torch.rand(length, generator=generator) < 0.3] = 0  # rows without weight
        weight[-1] = 0  # the last row of a sequence has no target
        logits.append(model(input_ids=sequence[None]).logits[0])
        targets.append(torch.cat([sequence[1:], torch.zeros(1, dtype=torch.long)]))
        weights.append(weight)
        ids += sequence.tolist()
        bounds.append(len(ids))
    logits, targets, weights = torch.cat(logits), torch.cat(targets), torch.cat(weights)
    logprobs = torch.log_softmax(logits, -1).gather(-1, targets[:, None])[:, 0]
    loss = -(weights.double() * logprobs).sum()
    loss.backward()
    logprobs = logprobs.detach().clone()
    logprobs[torch.tensor(bounds[1:]) - 1] = 0

    expected = {"logits": logits, "logprobs": logprobs, "loss": loss.reshape(1)}
    expected |= {f"grad.{key}": parameter.grad for key, parameter in model.named_parameters()}
    save_file({key: tensor.detach().float().contiguous() for key, tensor in expected.items()},
              directory / "expected.safetensors")
    (directory / "case.json").write_text(json.dumps(
        {"ids": ids, "cuSeqLens": bounds, "targets": targets.tolist(), "weights": weights.tolist()}) + "\n")


def make_dtypes():
    """Every kind of 16-bit float (zero, subnormal, normal, infinite; no NaN) and its float32 value, as PyTorch widens it."""
    bits = torch.arange(0, 65536, 37).to(torch.int32).to(torch.int16)
    tensors = {}
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        half = bits.view(dtype)
        half = half[~half.isnan()].contiguous()
        tensors[name] = half
        tensors[f"{name}.float32"] = half.float()
    tensors["i64"] = torch.arange(3)
    tensors["empty"] = torch.zeros(0, 5)
    save_file(tensors, OUT / "dtypes.safetensors", metadata={"format": "pt"})


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir()
for case, arguments in CASES.items():
    make_case(case, **arguments)
make_dtypes()
