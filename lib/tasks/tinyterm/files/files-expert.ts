import { ViewingAgent } from "../viewing-agent.js";

/** Most path components that one command may name, so that it fits in an action. */
const MAX_COMPONENTS = 4;

/**
 * Stays in the root, lists directories level by level until the places it needs are shown, the one the file is to go to last, moves or copies
 * by paths, by way of the root where one command would be too long, and submits.
 */
export class FilesExpert extends ViewingAgent {
  private verb = "";
  private file = "";
  private goal = "";
  private plan: string[] | undefined;

  protected override readInstruction(words: readonly string[]): void {
    [this.verb, this.file, this.goal] = words;
  }

  protected override choose(): string {
    this.plan ??= this.makePlan();
    if (this.plan) return this.plan.shift() ?? "submit done";
    return this.view.listNext(this.view.placeOf(this.goal.split("/")[0]));
  }

  /** The commands that do what was asked for, or undefined while their paths are not known. */
  private makePlan(): string[] | undefined {
    const { view, verb, file, goal } = this;
    const source = view.placeOf(file);
    if (source === undefined) return undefined;
    const [directory, newName = file] = verb === "rename" ? [undefined, goal] : goal.split("/");
    const parent =
      directory === undefined
        ? source.slice(0, Math.max(0, source.lastIndexOf("/")))
        : view.placeOf(directory);
    if (parent === undefined) return undefined;
    const program = verb === "copy" ? "cp" : "mv";
    const target = newName === file ? parent : parent === "" ? newName : `${parent}/${newName}`;
    if (`${source}/${target}`.split("/").length <= MAX_COMPONENTS) return [`${program} ${source} ${target}`];
    return [`${program} ${source} ${newName === file ? "." : newName}`, `mv ${newName} ${parent}`];
  }
}
