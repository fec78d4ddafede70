import { resolveInside } from "../../sandbox/resolve-inside.js";
import type { Tree } from "./draw-tree.js";
import { FileTree } from "./file-tree.js";
import type { NamePools } from "./name-pools.js";
import { transferEvidence } from "./transfer-evidence.js";
import { WorldEvidence } from "./world-evidence.js";

/** What the terminal's answers tell about the world, turn by turn. Knows the programs cat, cd, cp, find, ls, mv, pwd and touch. */
export class TerminalEvidence {
  /** Relative to the root, "" is the root. */
  cwd = "";
  /** The ways in which the answers so far can have come about; they exclude each other. */
  ways: WorldEvidence[];
  /** True when no more evidence is taken in: the world has changed in a way that is not followed. */
  lost = false;
  private readonly tree: FileTree;
  private readonly pools: NamePools;

  constructor(tree: Tree, pools: NamePools) {
    this.tree = new FileTree(tree);
    this.pools = pools;
    this.ways = [new WorldEvidence(pools)];
  }

  /** Takes in the answer to a command without flags that the terminal runs. */
  take(command: string): void {
    if (this.lost) return;
    const [program, ...operands] = command.split(" ").filter((word) => word !== "");
    if (program === "cd" && operands.length === 0) this.cwd = "";
    if (operands.length === 0 && (program === "ls" || program === "find")) operands.push(".");
    if (program === "mv" || program === "cp") {
      const [source, target] = operands;
      const { ways, tree, cwd, pools } = this;
      const after = transferEvidence({ ways, tree, cwd, pools, source, target, keep: program === "cp" });
      if (after) this.ways = after;
      else this.lost = true;
    } else if (program === "touch") for (const operand of operands) this.touch(operand);
    else if (program !== "pwd") for (const operand of operands) this.look(program, operand);
  }

  private look(program: string, operand: string): void {
    const { cwd, tree } = this;
    const outcome = tree.outcome(cwd, operand);
    const path = this.resolve(operand);
    this.refine((way) => way.lookUp(cwd, operand, outcome));
    if (outcome === "directory" && program === "cd") this.cwd = path;
    if (outcome === "directory" && (program === "ls" || program === "find"))
      this.refine((way) => way.list(path, (at) => tree.names(at), program === "find"));
    if (outcome === "file" && program === "cat")
      this.refine((way) => way.readWord(path, tree.files.get(path) ?? ""));
  }

  /** A new file of a name that no pool has. */
  private touch(operand: string): void {
    const slash = operand.lastIndexOf("/");
    const parent = slash < 0 ? "." : operand.slice(0, slash);
    const outcome = this.tree.outcome(this.cwd, parent);
    const path = this.resolve(operand);
    this.refine((way) => way.lookUp(this.cwd, parent, outcome));
    if (outcome !== "directory" || this.tree.files.has(path)) return;
    this.tree.files.set(path, "");
    this.refine((way) => way.create(path));
  }

  private refine(step: (way: WorldEvidence) => WorldEvidence[] | WorldEvidence | undefined): void {
    this.ways = this.ways.flatMap((way) => step(way) ?? []);
  }

  private resolve(path: string): string {
    return (resolveInside(this.cwd, path) ?? []).join("/");
  }
}
