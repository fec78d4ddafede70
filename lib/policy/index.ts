export { checkSampleRequest } from "./check-sample-request.js";
export { EmbeddedPolicy } from "./embedded-policy.js";
export type { EmbeddedPolicyOptions } from "./embedded-policy-options.js";
export type { Policy } from "./policy.js";
export type { SampleRequest } from "./sample-request.js";
export type { SampleResult } from "./sample-result.js";
