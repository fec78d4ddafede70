// One sandbox as the supervisor sees it.
#pragma once

#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "keeper.h"

namespace echo {

enum class Phase { kStarting, kIdle, kExec, kOnce, kKilling, kDestroying };

inline int64_t now_us() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000000 + time.tv_nsec / 1000;
}

inline void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

struct Box {
  uint32_t id = 0;
  unsigned slot = 0;
  Keeper keeper;
  int root_fd = -1;
  // Ends of the running shell or script; closing one takes it out of the epoll set.
  int command_fd = -1, output_fd = -1, control_fd = -1;
  // Output of a script; the persistent shell's waits meanwhile.
  int once_fd = -1;
  Phase phase = Phase::kStarting;
  bool shell_runs = false, shell_gone = false, once_ran = false;
  uint32_t call = 0;  // the call being answered
  uint32_t destroy_call = 0;
  int64_t deadline = 0;
  uint8_t flags = 0;
  size_t cap = 0;
  std::string output, cwd, control, unsent;

  ~Box() {
    for (int* fd : {&keeper.socket, &root_fd, &command_fd, &output_fd, &control_fd, &once_fd}) close_fd(*fd);
  }
};

}  // namespace echo
