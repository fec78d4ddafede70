/** An action as it was meant, and what was wrong with its form. */
export interface TidyAction {
  text: string;
  /** One message per fault, each at most once; empty for a clean action. */
  warnings: string[];
}

/**
 * Mends the form of an action where only one thing can be meant:
 *   text after the first line          left out     `more than one line`
 *   a prompt, `$ `, before it          left out     `prompt sign`
 *   space around it or repeated in it  one space    `extra spaces`
 * Tabs and carriage returns are space; empty lines before and after are too. Whatever else is wrong stays for the parser to refuse.
 */
export function tidyAction(action: string): TidyAction {
  const warnings: string[] = [];
  const trimmed = action.trim();
  const [first] = trimmed.split("\n");
  if (first !== trimmed) warnings.push("more than one line");
  const command = first.replace(/^\$[ \t]+/, "");
  if (command !== first) warnings.push("prompt sign");
  const text = command.trim().replace(/[ \t\r]+/g, " ");
  if (trimmed !== action || text !== command) warnings.push("extra spaces");
  return { text, warnings };
}
