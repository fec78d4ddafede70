import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SpecialTokenHarness } from "../agent/special-token-harness.js";
import { tidyAction } from "../environments/tidy-action.js";
import { warningBlock } from "../environments/warning-block.js";
import type { TaskFamily } from "../tasks/task-family.js";
import { Tokenizer } from "../tokens/tokenizer.js";
import { Transcript } from "../tokens/transcript.js";

/** SHA-256 of what a starting policy was made with. Where one differs, the policy speaks of another world than the one it is put in. */
export interface StartPolicyDigests {
  /** tokenizer.json. */
  tokenizer: string;
  /** Ids and roles of a conversation with every kind of answer. */
  harness: string;
  /** The first tasks of every split of the families. */
  generator: string;
}

/** Tasks of a split that stand for its generator. */
const TASKS = 64;

/** @param families the worlds of pretraining and those of the tasks, of one tokenizer. */
export async function startPolicyDigests(families: readonly TaskFamily[]): Promise<StartPolicyDigests> {
  const [{ tokenizer: directory }] = families;
  const sha256 = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");
  const tasks = families.flatMap((family) =>
    (["train", "val", "ood"] as const).flatMap((split) =>
      Array.from({ length: Math.min(TASKS, family.size(split)) }, (_, index) => family.task(split, index)),
    ),
  );
  return {
    tokenizer: sha256(await readFile(join(directory, "tokenizer.json"))),
    harness: sha256(JSON.stringify(conversation(Tokenizer.fromDirectory(directory), families[0]))),
    generator: sha256(JSON.stringify(tasks)),
  };
}

function conversation(tokenizer: Tokenizer, limits: { maxActionTokens: number }): object {
  const harness = new SpecialTokenHarness(tokenizer, limits);
  const transcript = new Transcript();
  harness.open(transcript, [{ text: "read fig", role: "context" }]);
  const say = (text: string): void => {
    const ids = harness.encodeAction(text);
    transcript.append(
      ids,
      "action",
      ids.map(() => 0),
    );
  };
  const untidy = " ls  oak\nls";
  say(untidy);
  harness.answer(
    transcript,
    "stop",
    [...warningBlock(tidyAction(untidy).warnings), { text: "fig\n[0] ~\n", role: "observation" }],
    false,
  );
  say("rm");
  harness.answer(transcript, "stop", [{ text: "rm: missing operand\n", role: "warning" }], false);
  say("cat fig");
  const special = tokenizer.encodeSpecial("<|task|>");
  for (const finish of ["length", "stop"] as const)
    harness.answer(transcript, finish, harness.refusal([special, special], finish) ?? [], finish === "stop");
  return {
    ids: transcript.ids,
    roles: transcript.roles,
    text: harness.actionText(harness.encodeAction(untidy)),
  };
}
