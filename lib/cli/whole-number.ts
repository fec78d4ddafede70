import { ConfigError } from "../errors/config-error.js";

/** The value of a flag that is a whole number. @throws ConfigError ERR_CONFIG when it is not one, or less than `least`. */
export function wholeNumber(where: string, flag: string, text: string, least: number): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < least)
    throw new ConfigError(
      "ERR_CONFIG",
      `[${where}] ${flag}: expected an integer >= ${least}, got "${text}".`,
    );
  return Number(text);
}
