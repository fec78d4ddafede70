import { CounterRandom } from "../../random/counter-random.js";
import { deriveSeed } from "../../random/derive-seed.js";
import type { Task } from "../task.js";
import { MazeMap } from "./maze-map.js";
import type { MazeTask } from "./maze-task.js";

/** Seed of the generator: another one makes other mazes. */
const SEED = 20_261;

/** One maze in this many is kept for `val`; which, is decided by its content, so the splits share none. */
const VAL_SHARE = 8n;

/** Chance of each wall of a perfect maze to be taken away, so that there can be more than one way. */
const EXTRA_OPENINGS = 0.1;

/**
 * Maze `index` of a split: a pure function. A perfect maze (Kruskal's algorithm over shuffled walls) of an evenly drawn size, some
 * extra openings, start and goal at least two steps apart.
 */
export function generateMazeTask(
  family: string,
  sizes: readonly [number, number],
  split: Task["split"],
  index: number,
): MazeTask {
  for (let attempt = 0; ; attempt++) {
    const random = new CounterRandom(deriveSeed(SEED, `${family}/${split}`, index, attempt));
    const [least, most] = sizes;
    const size = least + random.integer(most - least + 1);
    const openings = carve(size, random);
    const start = random.integer(size * size);
    const goal = random.integer(size * size);
    const bucket = deriveSeed(SEED, JSON.stringify([size, openings, start, goal])) % VAL_SHARE;
    const home = bucket === 0n ? "val" : bucket === 1n ? "ood" : "train";
    const distance = new MazeMap({ size, openings, goal }).distances[start];
    if (home !== split || distance < 2) continue;
    return {
      id: `${family}/${split}/${String(index).padStart(6, "0")}`,
      family,
      split,
      instruction: `maze ${size} by ${size}`,
      // One wrong turn, and the way back, for every other step.
      maxTurns: 2 * distance + 6,
      size,
      openings,
      start,
      goal,
    };
  }
}

function carve(size: number, random: CounterRandom): [number, number][] {
  const walls: [number, number][] = [];
  for (let cell = 0; cell < size * size; cell++) {
    if (cell % size < size - 1) walls.push([cell, cell + 1]);
    if (cell < size * (size - 1)) walls.push([cell, cell + size]);
  }
  const parent = Array.from({ length: size * size }, (_, cell) => cell);
  const rootOf = (cell: number): number => (parent[cell] === cell ? cell : rootOf(parent[cell]));
  const openings = random.shuffle(walls).filter(([a, b]) => {
    const joins = rootOf(a) !== rootOf(b);
    parent[rootOf(a)] = rootOf(b);
    return joins || random.next() < EXTRA_OPENINGS;
  });
  return openings.sort(([a, b], [c, d]) => a - c || b - d);
}
