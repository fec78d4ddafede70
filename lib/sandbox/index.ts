export { commandGrammar } from "./command-grammar.js";
export type { ExecResult } from "./exec-result.js";
export { maxCommandLength, type ParsedCommand, parseCommand } from "./parse-command.js";
export type { ExecOptions, Sandbox } from "./sandbox.js";
export type { SandboxProvider } from "./sandbox-provider.js";
