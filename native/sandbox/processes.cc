#include "processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace echo {
namespace {

struct ProcessEntry {
  pid_t pid;
  pid_t parent;
  char state;
  long threads;
  uid_t uid;
};

std::vector<ProcessEntry> list_processes(int proc_fd) {
  std::vector<ProcessEntry> entries;
  int fd = openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* directory = fd < 0 ? nullptr : fdopendir(fd);
  if (directory == nullptr) return entries;
  while (dirent* found = readdir(directory)) {
    pid_t pid = atoi(found->d_name);
    if (pid <= 0) continue;
    std::string path = std::string(found->d_name) + "/stat";
    int stat_fd = openat(proc_fd, path.c_str(), O_RDONLY | O_CLOEXEC);
    if (stat_fd < 0) continue;
    char text[1024];
    ssize_t length = read(stat_fd, text, sizeof(text) - 1);
    struct stat info = {};
    fstat(stat_fd, &info);
    close(stat_fd);
    if (length <= 0) continue;
    text[length] = 0;
    // The name may hold spaces and parentheses; the fields start after the last one.
    const char* fields = strrchr(text, ')');
    ProcessEntry entry = {pid, 0, 0, 1, info.st_uid};
    if (fields != nullptr &&
        sscanf(fields + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld", &entry.state,
               &entry.parent, &entry.threads) == 3) {
      entries.push_back(entry);
    }
  }
  closedir(directory);
  return entries;
}

bool contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

std::vector<pid_t> living_descendants(int proc_fd, pid_t ancestor, const std::vector<pid_t>& spared) {
  std::vector<ProcessEntry> all = list_processes(proc_fd);
  std::vector<pid_t> family = {ancestor};
  std::vector<pid_t> living;
  for (size_t i = 0; i < family.size(); i++) {
    for (const ProcessEntry& entry : all) {
      if (entry.parent != family[i] || contains(spared, entry.pid) || contains(family, entry.pid)) continue;
      family.push_back(entry.pid);
      if (entry.state != 'Z') living.push_back(entry.pid);
    }
  }
  return living;
}

}  // namespace

void kill_descendants(int proc_fd, pid_t ancestor, const std::vector<pid_t>& spared) {
  size_t stopped = 0;
  for (int round = 0; round < 100; round++) {
    std::vector<pid_t> living = living_descendants(proc_fd, ancestor, spared);
    for (pid_t pid : living) kill(pid, SIGSTOP);
    if (living.size() == stopped) break;
    stopped = living.size();
  }
  for (int round = 0; round < 100; round++) {
    std::vector<pid_t> living = living_descendants(proc_fd, ancestor, spared);
    if (living.empty()) return;
    for (pid_t pid : living) kill(pid, SIGKILL);
    usleep(1000);
  }
}

long threads_of_user(int proc_fd, uid_t uid) {
  long total = 0;
  for (const ProcessEntry& entry : list_processes(proc_fd)) {
    if (entry.uid == uid) total += entry.threads;
  }
  return total;
}

}  // namespace echo
