// Answers the benchmarks' requests as a library would; its argument says how it misbehaves.
import { createInterface } from "node:readline";

const mode = process.argv[2];
if (mode === "ends") {
  console.error("Traceback:\nModuleNotFoundError: No module named 'torch'");
  process.exit(3);
}
const answers = {
  hello: ({ threads }) => ({ name: "Fake 1.0", threads, capability: "SLOW" }),
  prepare: ({ value }) => (value < 0 ? { error: "ValueError: below 0\nmore" } : { computed: 2 * value }),
  measure: ({ minSamples }) => ({
    samplesMs: Array.from({ length: minSamples }, (_, i) => 10 + i),
    cpuMs: 7,
  }),
  drop: () => ({}),
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  if (mode === "silent" && request.do === "prepare") return;
  if (mode === "chatty" && request.do === "prepare") console.log("downloading 12 %");
  if (mode === "dies" && request.do === "measure") process.exit(9);
  process.stdout.write(`${JSON.stringify({ id: request.id, ...answers[request.do](request) })}\n`);
});
