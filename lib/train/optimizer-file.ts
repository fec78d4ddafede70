import type { Parameter } from "../model/parameter.js";
import { SafetensorsReader } from "../model/safetensors-reader.js";
import { type NamedTensor, writeSafetensors } from "../model/write-safetensors.js";
import type { AdamW } from "../optim/adamw.js";
import type { AdamWState } from "../optim/adamw-state.js";

const PARTS = ["first", "second"] as const;

/** AdamW's moments as a safetensors file: tensors `<parameter>.first` and `<parameter>.second`. */
export const OptimizerFile = {
  async save(path: string, optimizer: AdamW, parameters: readonly Parameter[]): Promise<void> {
    const { moments } = optimizer.state();
    const tensors: NamedTensor[] = parameters.flatMap(({ name, shape }) =>
      PARTS.map((part) => ({ name: `${name}.${part}`, shape, value: moments[name][part] })),
    );
    await writeSafetensors(path, tensors);
  },

  /** @throws DataError ERR_SAFETENSORS when a tensor is missing or has another shape; CheckpointError ERR_CHECKPOINT_MISMATCH. */
  async load(
    path: string,
    optimizer: AdamW,
    parameters: readonly Parameter[],
    counts: { stepCount: number; skippedSteps: number },
  ): Promise<void> {
    const file = await SafetensorsReader.open(path);
    try {
      const moments: AdamWState["moments"] = {};
      for (const { name, shape, value } of parameters) {
        const read = { first: new Float32Array(value.length), second: new Float32Array(value.length) };
        for (const part of PARTS) await file.read(`${name}.${part}`, shape, read[part]);
        moments[name] = read;
      }
      optimizer.restore({ ...counts, moments });
    } finally {
      await file.close();
    }
  },
};
