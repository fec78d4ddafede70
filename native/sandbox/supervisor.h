// The supervisor: one process per trainer that owns every sandbox, enforces deadlines and output caps, and answers Node.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "box.h"
#include "isolation.h"
#include "wire.h"

namespace echo {

// How long a keeper may take over an order to kill before it is killed itself.
constexpr int64_t kPatienceUs = 5000000;

// What an epoll event is about, in the low bits of its tag; the sandbox stands above.
enum class Channel : uint64_t { kRequests, kReplies, kSignals, kKeeper, kCommands, kOutput, kOnce, kControl };

// Serves requests from descriptor 0, replies on descriptor 1, until 0 ends or a signal asks to stop; then ends every sandbox.
class Supervisor {
 public:
  explicit Supervisor(const Isolation& isolation) : isolation_(isolation) {}
  // Returns the exit status.
  int run();

 private:
  // supervisor.cc: the life of sandboxes, and the loop
  void watch(int fd, uint32_t events, uint32_t id, Channel channel, int operation = EPOLL_CTL_ADD);
  void flush();
  bool read_requests();
  void create(uint32_t call, uint32_t id);
  void destroy(Box& box, uint32_t call);
  void keeper_event(Box& box);
  void kill_orphans();
  void reap();
  int next_timeout() const;
  void run_deadlines();
  int shut_down();

  // supervisor_requests.cc: what Node asks of one that lives
  void handle(std::string_view request);
  void exec(Box& box, uint32_t call, Operation operation, PayloadReader reader);
  void write_file(Box& box, uint32_t call, PayloadReader reader);
  void read_file(Box& box, uint32_t call, std::string_view path);
  void send_tree(Box& box, uint32_t call);
  void change_tree(Box& box, uint32_t call, std::string_view edits);
  long owner_of(const Box& box) const;
  void usage(uint32_t call);
  void cancel(uint32_t call);

  // supervisor_commands.cc: a command from its start to its answer
  void start_shell(Box& box);
  void start_once(Box& box, std::string_view script);
  void send_commands(Box& box);
  void control_event(Box& box);
  void read_output(Box& box, int& fd, bool to_the_end);
  void stop_command(Box& box, uint8_t flag);
  void finish(Box& box, int exit_code);
  void lose(Box& box, ErrorCode code, std::string_view text);
  void close_shell(Box& box);

  const Isolation& isolation_;
  int epoll_ = -1, signals_ = -1;
  // Lowest slots first, so that they stay below the number of uids.
  std::set<unsigned> free_slots_;
  unsigned slots_ = 0;
  Wire wire_;
  bool replies_watched_ = false;
  std::unordered_map<uint32_t, std::unique_ptr<Box>> boxes_;
  std::unordered_map<pid_t, uint32_t> keepers_;
  std::set<std::pair<int64_t, uint32_t>> deadlines_;
};

}  // namespace echo
