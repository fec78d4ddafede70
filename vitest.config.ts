import { defineConfig } from "vitest/config";

// `npm test` runs the quick tier; `npm run test:all` adds every *.slow.test.ts (sanitizers, fuzzing, kill tests).
const all = process.env.ECHO_GRPO_TEST_TIER === "all";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    exclude: all ? ["**/node_modules/**"] : ["**/node_modules/**", "**/*.slow.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: all ? 600_000 : 60_000,
    hookTimeout: 120_000,
    // Native code runs in every worker: keep the thread pool of each to one core's worth unless a test asks.
    env: { ECHO_GRPO_THREADS: process.env.ECHO_GRPO_THREADS ?? "1" },
  },
});
