// Instruction-set tiers. A tier unit is a .cc file compiled once per tier with its own flags, with ECHO_TIER defined to
// scalar, avx2, avx512, avx512bf16 or neon, and everything in namespace echo::ECHO_TIER (internal linkage, no std:: templates: the linker keeps one
// copy of a shared inline, and it must not be the AVX-512 one).
#pragma once

namespace echo {

// On one machine a larger one holds everything that a smaller one has. avx512bf16 differs from avx512 in the loss only (vec_half.h).
enum class Isa : int { scalar = 0, avx2 = 1, avx512 = 2, avx512bf16 = 3, neon = 4 };

// The tier in use: the best that CPUID and XGETBV allow, or ECHO_GRPO_ISA=scalar|avx2|avx512|avx512bf16|neon.
Isa active_isa();
bool isa_supported(Isa isa);
// False, and nothing changes, when this machine cannot run it.
bool set_active_isa(Isa isa);
const char* isa_name(Isa isa);

}  // namespace echo
