/**
 * Who wrote a token. Every token carries its role from the moment it exists; no mask is ever guessed from ids.
 *   context      instruction, chat template, echoed command: never a target
 *   action       sampled by the policy: the GRPO term
 *   observation  written by the terminal: the ECHO term
 *   warning      written by the harness: counts in the observation denominator; a target only where `observationTargets` says so
 */
export type Role = "context" | "action" | "observation" | "warning";
