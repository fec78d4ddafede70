import type { PeerGreeting } from "./peer.js";

/** A library, its threads and instruction set, as a note. */
export function renderGreeting({ capability, name, threads }: PeerGreeting): string {
  const set = capability === undefined ? "" : `CPU capability ${capability}, `;
  return `${name}: ${set}${threads} ${threads === 1 ? "thread" : "threads"}.`;
}
