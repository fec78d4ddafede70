import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { addonPath } from "../../lib/native/addon-path.js";
import { loadNative } from "../../lib/native/load.js";

const source = `
  const { parentPort, workerData } = require("node:worker_threads");
  const native = require(workerData.path);
  const rows = 40, vocab = 700, answers = [];
  for (let round = 0; round < 20; round++) {
    const logits = Float32Array.from({ length: rows * vocab }, (_, k) => Math.sin(k) * 5);
    const logprobs = new Float32Array(rows);
    native.tokenLogprobs(
      { logits, dtype: "float32", vocab, ld: vocab },
      new Int32Array(rows).fill(3),
      { temperature: 1, logitSoftcap: 0 },
      logprobs,
      null,
    );
    answers.push(Buffer.from(logprobs.buffer).toString("hex"));
  }
  parentPort.postMessage([...new Set(answers)]);
`;

const answer = (): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(source, { eval: true, workerData: { path: addonPath() } });
    let message: string[] = [];
    worker.on("message", (value: string[]) => {
      message = value;
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(message));
  });

describe("the addon in worker_threads", () => {
  it("gives every thread the same answers, at once and after others have ended", async () => {
    loadNative().setThreads(3);
    const together = await Promise.all([answer(), answer(), answer()]);
    const later = await answer();
    loadNative().setThreads(1);
    expect(together[0]).toHaveLength(1);
    expect([...together, later]).toEqual(new Array(4).fill(together[0]));
  });
});
