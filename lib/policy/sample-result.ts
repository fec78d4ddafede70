/** What a policy sampled. */
export interface SampleResult {
  ids: number[];
  /** log p of each sampled id at the request's temperature. */
  logprobs: number[];
  /** `stop`: the last id is a stop id. `length`: maxTokens or the context limit ended it. */
  finish: "stop" | "length";
}
