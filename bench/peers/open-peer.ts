import type { MissingPeer } from "./missing-peer.js";
import { Peer, type PeerGreeting } from "./peer.js";

const GREETING_LIMIT_S = 60;

export interface OpenPeer {
  peer: Peer;
  greeting: PeerGreeting;
}

/** A peer that has answered the greeting, or why there is none. */
export async function openPeer(
  name: string,
  start: { command: string; args: readonly string[]; environment?: Record<string, string> },
  threads: number,
): Promise<OpenPeer | MissingPeer> {
  const peer = new Peer(start.command, start.args, start.environment);
  try {
    const greeting = await peer.ask({ do: "hello", threads }, GREETING_LIMIT_S);
    return { peer, greeting: greeting as unknown as PeerGreeting };
  } catch (error) {
    await peer.close();
    return { name, why: (error as Error).message };
  }
}
