// The keeper: the first process of a sandbox. It prepares the sandbox, starts shells when told, reaps, and kills
// when told; where pid namespaces work it is process 1 of its own, so its death ends everything in the sandbox.
#pragma once

#include <sys/types.h>

#include <string>

#include "isolation.h"

namespace echo {

struct Keeper {
  pid_t pid = -1;
  int socket = -1;
};

// Starts the keeper of the sandbox in slot `slot`. The caller closes `socket` and reaps `pid`.
bool start_keeper(const Isolation& isolation, unsigned slot, Keeper& keeper, std::string& error);

// Where the sandbox's root lies, as its own processes see it.
std::string sandbox_root(const Isolation& isolation, unsigned slot);

}  // namespace echo
