import { ViewingAgent } from "../viewing-agent.js";

/**
 * Runs the script to see what it says, and reads it where its program does not exist. Then it mends the program and checks. Where the path is
 * wrong, it lists directories from the root until one shows the file, mends the path and submits.
 */
export class FixExpert extends ViewingAgent {
  /** What the script said at first, and what it was. */
  private error: string | undefined;
  private script: string | undefined;
  private searching = false;

  protected override choose(): string {
    const { view, action } = this;
    this.error ??= view.printed.get("bash run")?.[0];
    if (this.error === undefined) return "bash run";
    const named = /^cat: (.*): No such file or directory$/.exec(this.error)?.[1];
    this.script ??= named === undefined ? view.words.get("run") : `cat ${named}`;
    if (this.script === undefined) return "cat run";

    const [program, path] = this.script.split(" ");
    const slash = path.lastIndexOf("/");
    if (program === "cat" || (action === "bash check" && !view.succeeded)) this.searching = true;
    if (!this.searching) {
      if (action === "bash check") return "submit done";
      return action.startsWith("echo ") ? "bash check" : `echo cat ${path} > run`;
    }
    const place = view.placeOf(path.slice(slash + 1));
    if (place !== undefined) return action.startsWith("echo ") ? "submit done" : `echo cat ${place} > run`;
    if (!view.listings.has("")) return "ls";
    // The directory that the script named does not hold the file, but one in it may.
    const unlisted = view.unlisted();
    const wrong = path.slice(0, Math.max(0, slash));
    return `ls ${unlisted.find((directory) => directory !== wrong) ?? unlisted[0]}`;
  }
}
