// What the two halves of a keeper share: keeper_setup.cc prepares its sandbox, keeper.cc runs things in it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "isolation.h"
#include "protocol.h"

namespace echo {

// Where the keeper's end of its channel lies.
constexpr int kSocketFd = 3;

struct KeeperState {
  const Isolation* isolation;
  std::string root;
  std::string driver;
  std::string home;
  uid_t uid = 0;  // of commands, where it differs from ours
  bool changes_user = false;
  int signal_fd = -1;
  int ruleset = -1;
  pid_t supervisor = 0;
  pid_t shell = 0;
  pid_t once = 0;
  char buffer[kMaxScriptBytes + 2];
};

// Tells the supervisor.
void reply(char kind, std::string_view text = {}, int fd = -1);

// Makes the sandbox of slot `slot`, gives up the keeper's own rights, and says that all is ready. Ends the process when it cannot.
void prepare(KeeperState& state, unsigned slot);

}  // namespace echo
