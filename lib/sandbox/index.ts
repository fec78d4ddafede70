export { commandGrammar } from "./command-grammar.js";
export type { ExecResult } from "./exec-result.js";
export { LocalSandbox } from "./local-sandbox.js";
export { type LocalSandboxOptions, LocalSandboxProvider } from "./local-sandbox-provider.js";
export { maxCommandLength, type ParsedCommand, parseCommand } from "./parse-command.js";
export type { ExecOptions, Sandbox } from "./sandbox.js";
export type { SandboxProvider } from "./sandbox-provider.js";
export { type SharedSandboxOptions, SharedSandboxProvider } from "./shared-sandbox-provider.js";
