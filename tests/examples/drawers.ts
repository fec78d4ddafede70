import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const dropIn = join(import.meta.dirname, "..", "..", "examples", "drop-in-loss");

interface Model {
  forward(ids: Int32Array, cuSeqLens: Int32Array): Float32Array;
}
export interface Episode {
  ids: Int32Array;
  advantage: number;
  logprobs: Float32Array;
}
export type Learn<M> = (model: M, episodes: Episode[], lambda?: number) => number;

/** Episodes of the drawers world, played by `model`, with sampler log-probabilities a little off: ratios are not 1. */
export async function drawerEpisodes(model: Model, count: number): Promise<Episode[]> {
  const { play, random } = await import(join(dropIn, "world.js"));
  const next = random(2);
  return Array.from({ length: count }, (_, i) => {
    const episode: Episode = { ...play(model, i % 8, next), advantage: Math.sin(i * 5) };
    return { ...episode, logprobs: episode.logprobs.map((logprob) => logprob - 0.4 * Math.cos(i)) };
  });
}

/** Loss and gradients, by parameter, of the model in plain typed arrays with the weights all drawers models start from. */
export async function plainGradients(
  episodes: Episode[],
): Promise<{ loss: number; gradients: Record<string, Float32Array> }> {
  const [{ Model }, { learn }, { VOCABULARY }] = await Promise.all(
    ["model", "after", "world"].map((name) => import(join(dropIn, `${name}.js`))),
  );
  const model = new Model(VOCABULARY, 24, 1);
  const loss = learn(model, episodes);
  const gradients = { last: model.last.grad, before: model.before.grad, head: model.head.grad };
  return { loss, gradients };
}

/** Runs an example as its README says, for 50 steps; success and observation nll of the first and the last. */
export async function runDrawers(folder: string): Promise<Record<"first" | "last", [number, number]>> {
  const { stdout } = await promisify(execFile)(process.execPath, ["train.js", "50"], { cwd: folder });
  const steps = [...stdout.matchAll(/^step \d+: success ([\d.]+), observation nll ([\d.]+)$/gm)].map(
    ([, success, nll]): [number, number] => [Number(success), Number(nll)],
  );
  return { first: steps[0], last: steps[steps.length - 1] };
}
