// Memory of the addon's own, whatever becomes of the ArrayBuffers over it.
#pragma once

#include <napi.h>

#include <memory>

#include "../model/buffer.h"

namespace echo::addon {

using HostMemory = std::shared_ptr<Buffer<uint8_t>>;

// The memory behind what createHostMemory returned, to be kept for as long as a job works on it. False after throwing: another object, or disposed.
bool take_host_memory(Napi::Value value, HostMemory& out);

// What holds an array until a job is over: the addon's own memory, or a SharedArrayBuffer, which nothing can detach.
struct HeldArray {
  HostMemory memory;
  Napi::ObjectReference shared;

  // `memory_value`: what createHostMemory returned, or null. False after throwing: `data` does not lie there.
  bool hold(Napi::Value memory_value, Napi::TypedArray array, const void* data, int64_t bytes);
};

}  // namespace echo::addon
