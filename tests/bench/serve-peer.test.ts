import { join } from "node:path";
import { expect, test } from "vitest";
import { openPeer } from "../../bench/peers/open-peer.js";

test("a JavaScript library served as a peer answers like the others", async () => {
  const args = ["--import", "tsx", join(import.meta.dirname, "serving-peer.ts")];
  const opened = await openPeer("Serving", { command: process.execPath, args }, 1);
  if (!("peer" in opened)) throw new Error(opened.why);
  const { greeting, peer } = opened;
  try {
    expect(greeting).toMatchObject({ name: "Serving 2.0", threads: 1 });
    await expect(peer.ask({ do: "measure", case: "a" }, 10)).rejects.toThrow("no case a is prepared");
    await expect(peer.ask({ do: "prepare", case: "a" }, 10)).rejects.toThrow("value is no number");
    expect(await peer.ask({ do: "prepare", case: "a", value: 4 }, 10)).toMatchObject({
      doubled: 8,
      calls: 0,
    });
    const effort = { minSamples: 5, maxTimeS: 0, minSampleS: 0.001 };
    const { cpuMs, samplesMs } = await peer.ask({ do: "measure", case: "a", ...effort }, 10);
    expect(samplesMs).toHaveLength(5);
    for (const ms of [...(samplesMs as number[]), cpuMs as number]) expect(ms).toBeGreaterThanOrEqual(0);
    // It was really called, for each sample; how often for one, depends on how busy the machine is.
    const { calls } = await peer.ask({ do: "prepare", case: "b", value: 4 }, 10);
    expect(calls).toBeGreaterThanOrEqual(5);
    await peer.ask({ do: "drop", case: "a" }, 10);
    await expect(peer.ask({ do: "measure", case: "a", ...effort }, 10)).rejects.toThrow("no case a");
  } finally {
    await peer.close();
  }
});
