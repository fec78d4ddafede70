import { z } from "zod";

/** Where the weights come from: a directory, or an architecture initialised at random. */
export const modelConfigSchema = z
  .strictObject({
    path: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Hugging Face directory (config.json, model.safetensors, tokenizer.json) to start from; or a checkpoint, or a run (its newest checkpoint).",
      ),
    architecture: z
      .strictObject({
        hiddenSize: z.int().positive(),
        intermediateSize: z.int().positive(),
        numLayers: z.int().positive(),
        numHeads: z.int().positive(),
        numKvHeads: z.int().positive(),
        headDim: z.int().positive(),
        ropeTheta: z.number().positive().default(10000),
        rmsNormEps: z.number().positive().default(1e-6),
        tieWordEmbeddings: z.boolean().default(true),
        maxPositions: z.int().positive().default(1024),
      })
      .optional()
      .describe(
        "Shape of a new decoder, initialised at random from `seed`. The vocabulary is the tokenizer's.",
      ),
    tokenizer: z
      .string()
      .min(1)
      .optional()
      .describe(
        "Directory with the tokenizer.json of a new decoder. Default: the one shipped for the task family.",
      ),
  })
  .superRefine((model, context) => {
    if ((model.path === undefined) === (model.architecture === undefined))
      context.addIssue({
        code: "custom",
        message: "expected exactly one of path and architecture",
      });
    if (model.path !== undefined && model.tokenizer !== undefined)
      context.addIssue({
        code: "custom",
        path: ["tokenizer"],
        message: "expected no tokenizer beside path (a model directory brings its own)",
      });
  });
