import { commandGrammar } from "./command-grammar.js";

/** Programs of the closed command language that change nothing, neither files nor the shell: those that need not stand alone. */
export const readingPrograms: readonly string[] = Object.entries(commandGrammar)
  .filter(([, { position }]) => position !== "alone")
  .map(([program]) => program);
