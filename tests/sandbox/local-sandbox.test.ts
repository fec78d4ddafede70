import { sandboxConformance } from "../conformance/sandbox-conformance.js";
import { startLocalSandbox } from "./start-local-sandbox.js";

sandboxConformance("local, every layer the kernel offers", () => startLocalSandbox("all"));
sandboxConformance("local, without namespaces", () => startLocalSandbox("landlock,seccomp,unprivileged-uid"));
sandboxConformance("local, without any layer", () => startLocalSandbox("none"));
