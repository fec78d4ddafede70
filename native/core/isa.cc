#include "isa.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace echo {
namespace {

#if defined(__x86_64__)

uint64_t xgetbv0() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Every feature bit a tier is compiled with is tested (native/sources.json), and XGETBV says whether the operating system
// saves the registers: a CPU with AVX-512 under a kernel without it faults on the first zmm.
Isa detect() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::scalar;
  const bool fma = c & (1u << 12);
  const bool osxsave = c & (1u << 27);
  const bool avx = c & (1u << 28);
  const bool f16c = c & (1u << 29);
  if (!osxsave || !avx || !fma || !f16c) return Isa::scalar;
  const uint64_t saved = xgetbv0();
  if ((saved & 0x6) != 0x6) return Isa::scalar;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return Isa::scalar;
  if (!(b & (1u << 5))) return Isa::scalar;
  const uint32_t avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);  // f, dq, bw, vl
  if ((b & avx512) != avx512 || (saved & 0xe6) != 0xe6) return Isa::avx2;
  if (a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return Isa::avx512;
  return a & (1u << 5) ? Isa::avx512bf16 : Isa::avx512;
}

#elif defined(__aarch64__)

// Every 64-bit ARM has it.
Isa detect() { return Isa::neon; }

#else

Isa detect() { return Isa::scalar; }

#endif

Isa best() {
  static const Isa isa = detect();
  return isa;
}

Isa initial() {
  const char* wanted = std::getenv("ECHO_GRPO_ISA");
  if (wanted != nullptr)
    for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::neon})
      if (std::strcmp(wanted, isa_name(isa)) == 0 && isa_supported(isa)) return isa;
  return best();
}

std::atomic<int>& active() {
  static std::atomic<int> isa{static_cast<int>(initial())};
  return isa;
}

}  // namespace

Isa active_isa() { return static_cast<Isa>(active().load(std::memory_order_relaxed)); }

bool isa_supported(Isa isa) {
  if (isa == Isa::scalar) return true;
  return (isa == Isa::neon) == (best() == Isa::neon) && static_cast<int>(isa) <= static_cast<int>(best());
}

bool set_active_isa(Isa isa) {
  if (!isa_supported(isa)) return false;
  active().store(static_cast<int>(isa), std::memory_order_relaxed);
  return true;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::neon: return "neon";
    case Isa::avx512bf16: return "avx512bf16";
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    default: return "scalar";
  }
}

}  // namespace echo
