"""Loads a directory that EmbeddedDecoder.save wrote with transformers and writes the logits it computes.

    python tests/golden/check_saved_model.py <model directory> <case.json: ids, cuSeqLens> <output.safetensors>

Fails unless every parameter of the model was in the file and nothing else was.
"""

import json
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

directory, case, output = sys.argv[1:]
model, info = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager", output_loading_info=True)
for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
    assert not info[key], (key, info[key])
assert type(model).__name__ == "Qwen3ForCausalLM" and model.dtype == torch.float32, (type(model), model.dtype)
case = json.load(open(case))
ids, bounds = torch.tensor(case["ids"]), case["cuSeqLens"]
with torch.no_grad():
    model = model.double().eval()
    logits = [model(input_ids=ids[a:b][None]).logits[0] for a, b in zip(bounds, bounds[1:])]
save_file({"logits": torch.cat(logits).float()}, output)
