// A peer made with servePeer, for tests.
import { servePeer } from "../../bench/peers/serve-peer.js";

let calls = 0;
servePeer({ name: "Serving 2.0", threads: 1 }, ({ value }) => {
  if (typeof value !== "number") throw new TypeError("value is no number");
  console.log("not an answer");
  return { call: () => void calls++, computed: { doubled: 2 * value, calls } };
});
