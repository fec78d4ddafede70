// Instruction-set tiers. A tier unit is a .cc file compiled once per tier with its own flags, with ECHO_TIER defined to
// scalar, avx2 or avx512, and everything in namespace echo::ECHO_TIER (internal linkage, no std:: templates: the linker keeps one
// copy of a shared inline, and it must not be the AVX-512 one).
#pragma once

namespace echo {

enum class Isa : int { scalar = 0, avx2 = 1, avx512 = 2 };

// The tier in use: the best that CPUID and XGETBV allow, or ECHO_GRPO_ISA=scalar|avx2|avx512.
Isa active_isa();
bool isa_supported(Isa isa);
// False, and nothing changes, when this machine cannot run it.
bool set_active_isa(Isa isa);
const char* isa_name(Isa isa);

}  // namespace echo
