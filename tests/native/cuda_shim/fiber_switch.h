// Stacks to switch between. On x86-64 a switch saves what the calling convention asks for and nothing else: ucontext makes a system call each
// time, and a kernel of four thousand threads switches a hundred thousand times for a row. AddressSanitizer is told of every switch.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_shim {

constexpr size_t fiber_stack_bytes = 64 * 1024;

struct FiberStack {
  std::unique_ptr<char[]> memory;  // null: the stack of whoever runs the scheduler
  void* top = nullptr;             // where it was left
  ucontext_t context;
  void* fake_stack = nullptr;
  const void* bottom = nullptr;
  size_t size = 0;
};

#if defined(__x86_64__)
extern "C" void echo_switch_stack(void** from, void* to);
asm(R"(
.text
.weak echo_switch_stack
.type echo_switch_stack, @function
echo_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size echo_switch_stack, .-echo_switch_stack
)");
#endif

inline void (*fiber_entry)() = nullptr;

inline void began_fiber([[maybe_unused]] FiberStack* scheduler) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler->bottom, &scheduler->size);
#endif
}

inline FiberStack* fiber_origin = nullptr;

inline void fiber_main() {
  began_fiber(fiber_origin);
  fiber_entry();
}

inline void prepare_fiber(FiberStack& f, void (*entry)()) {
  fiber_entry = entry;
  if (!f.memory) f.memory.reset(new char[fiber_stack_bytes]);
  f.bottom = f.memory.get();
  f.size = fiber_stack_bytes;
  f.fake_stack = nullptr;
#if defined(__x86_64__)
  uintptr_t end = reinterpret_cast<uintptr_t>(f.memory.get()) + fiber_stack_bytes;
  end &= ~uintptr_t{15};
  void** top = reinterpret_cast<void**>(end) - 2;
  *top = reinterpret_cast<void*>(fiber_main);  // where `ret` goes: the stack is then as after a call
  top[1] = nullptr;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  f.top = top;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.memory.get();
  f.context.uc_stack.ss_size = fiber_stack_bytes;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
#endif
}

inline void change_stack(FiberStack& from, FiberStack& to) {
#if defined(__x86_64__)
  echo_switch_stack(&from.top, to.top);
#else
  swapcontext(&from.context, &to.context);
#endif
}

inline void switch_fiber(FiberStack& from, FiberStack& to) {
  if (!from.memory) fiber_origin = &from;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.size);
#endif
  change_stack(from, to);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// The last switch of a fiber: it is not come back to.
[[noreturn]] inline void leave_fiber([[maybe_unused]] FiberStack& from, FiberStack& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, to.bottom, to.size);
#endif
  change_stack(from, to);
  __builtin_unreachable();
}

}  // namespace cuda_shim
