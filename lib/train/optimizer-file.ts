import type { Parameter } from "../model/parameter.js";
import { SafetensorsReader } from "../model/safetensors-reader.js";
import { type NamedTensor, writeSafetensors } from "../model/write-safetensors.js";
import type { AdamW } from "../optim/adamw.js";
import type { AdamWState } from "../optim/adamw-state.js";

const PARTS = ["first", "second"] as const;

type Tensor = Pick<Parameter, "name" | "shape">;

/**
 * AdamW's state as a safetensors file: tensors `<parameter>.first` and `<parameter>.second`, and `<parameter>.master` where the parameter
 * is bfloat16.
 */
export const OptimizerFile = {
  async save(path: string, optimizer: AdamW, parameters: readonly Tensor[]): Promise<void> {
    const { moments, masters = {} } = optimizer.state();
    const tensors: NamedTensor[] = parameters.flatMap(({ name, shape }) => [
      ...PARTS.map((part) => ({ name: `${name}.${part}`, shape, value: moments[name][part] })),
      ...(Object.hasOwn(masters, name) ? [{ name: `${name}.master`, shape, value: masters[name] }] : []),
    ]);
    await writeSafetensors(path, tensors);
  },

  /** @throws DataError ERR_SAFETENSORS when a tensor is missing or has another shape; CheckpointError ERR_CHECKPOINT_MISMATCH. */
  async load(
    path: string,
    optimizer: AdamW,
    parameters: readonly Tensor[],
    counts: { stepCount: number; skippedSteps: number },
  ): Promise<void> {
    const file = await SafetensorsReader.open(path);
    try {
      const expected = optimizer.state();
      const read = async (name: string, shape: readonly number[]): Promise<Float32Array> => {
        const into = new Float32Array(shape.reduce((product, size) => product * size, 1));
        await file.read(name, shape, into);
        return into;
      };
      const moments: AdamWState["moments"] = {};
      const masters: Record<string, Float32Array> = {};
      for (const { name, shape } of parameters) {
        moments[name] = {
          first: await read(`${name}.first`, shape),
          second: await read(`${name}.second`, shape),
        };
        if (expected.masters !== undefined && Object.hasOwn(expected.masters, name))
          masters[name] = await read(`${name}.master`, shape);
      }
      optimizer.restore({ ...counts, moments, masters });
    } finally {
      await file.close();
    }
  },
};
