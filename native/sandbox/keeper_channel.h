// What supervisor and keeper say to each other: one byte and a text per message, file descriptors beside it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace echo {

// Supervisor to keeper.
constexpr char kKeeperShell = 'S';  // text: where to start; descriptors: commands, output, control
constexpr char kKeeperOnce = 'O';   // text: script; descriptor: output
constexpr char kKeeperKill = 'K';   // end every process but the keeper

// Keeper to supervisor.
constexpr char kKeeperReady = 'R';      // descriptor: the sandbox root
constexpr char kKeeperFailed = 'E';     // text: what could not be prepared
constexpr char kKeeperShellDied = 's';
constexpr char kKeeperOnceDied = 'o';   // text: exit status in decimal
constexpr char kKeeperKilled = 'k';     // everything is dead

struct KeeperReply {
  char kind = 0;
  std::string text;
  int fd = -1;
};

// Sends one order with up to three descriptors. False when the keeper is gone.
bool send_to_keeper(int socket, char kind, std::string_view text, const int* fds, int count);

// Receives one reply. False when there is none now or the keeper is gone.
bool receive_from_keeper(int socket, KeeperReply& reply);

// Receives one raw message; `fds` has room for three descriptors. Returns its length, 0 at the end, -1 for none now.
ssize_t receive_message(int socket, char* buffer, size_t size, int* fds, int& count);

}  // namespace echo
