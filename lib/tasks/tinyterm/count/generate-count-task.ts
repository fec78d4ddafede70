import type { Task } from "../../task.js";
import { drawTree } from "../draw-tree.js";
import { splitByContent } from "../split-by-content.js";
import { treeDifficulty } from "../tree-difficulty.js";
import type { CountTask } from "./count-task.js";
import { COUNT_WORLDS } from "./count-world.js";

/** Seed of the generator: another one makes another family of tasks. */
const SEED = 20_265;

/**
 * Task `index` of a split: a pure function. The tree is drawn by `drawTree`; the words of the files, two each, are drawn without replacement
 * in the whole world, their lines stand in an even order; the target, whether a word or all lines are counted, and the word are even choices.
 */
export function generateCountTask(split: Task["split"], index: number): CountTask {
  return splitByContent(SEED, "tinyterm/count", split, index, (random) => {
    const world = COUNT_WORLDS[split];
    const { directories, files: places, shape } = drawTree(world, random);
    const words = random.shuffle(world.pools.words);
    const files = places.map(({ path }, i) => {
      const [first, second] = words.slice(2 * i);
      const ofFirst = Array.from({ length: 1 + random.integer(world.mostOfFirst) }, () => first);
      const ofSecond = Array.from({ length: random.integer(world.mostOfSecond + 1) }, () => second);
      return { path, first, second, lines: random.shuffle([...ofFirst, ...ofSecond]) };
    });
    const { path, first, second, lines } = random.pick(files);
    const target = path.slice(path.lastIndexOf("/") + 1);
    const asked = world.anyWord ? random.pick([first, second]) : first;
    const word = random.pick([asked, undefined]);
    return {
      id: `tinyterm/count/${split}/${String(index).padStart(6, "0")}`,
      family: "tinyterm/count",
      split,
      instruction: word === undefined ? `lines ${target}` : `count ${word} ${target}`,
      difficulty: treeDifficulty(shape),
      // One to list each directory, the root included, two to count and submit, a few to spare.
      maxTurns: directories.length + 7,
      directories,
      files: files.map((file) => ({ path: file.path, lines: file.lines })),
      target,
      word,
      answer: word === undefined ? lines.length : lines.filter((line) => line === word).length,
    };
  });
}
