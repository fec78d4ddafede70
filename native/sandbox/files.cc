#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace echo {
namespace {

bool fail(std::string& error, int code) {
  error = code == ELOOP || code == ENOTDIR ? "leads through a link or a file" : strerror(code);
  return false;
}

// Opens the directory that holds the last part of `path`; `name` becomes that part. -1 when a part is unusable.
int open_parent(int root_fd, std::string_view path, bool create, long owner, std::string& name, std::string& error) {
  int directory = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
  while (directory >= 0) {
    size_t slash = path.find('/');
    name = std::string(path.substr(0, slash));
    if (name.empty() || name == "." || name == ".." || name.find('\0') != std::string::npos) {
      error = "not a path below the sandbox root";
      break;
    }
    if (slash == std::string_view::npos) return directory;
    path.remove_prefix(slash + 1);
    if (create && mkdirat(directory, name.c_str(), 0755) == 0 && owner >= 0) {
      fchownat(directory, name.c_str(), static_cast<uid_t>(owner), static_cast<gid_t>(owner), AT_SYMLINK_NOFOLLOW);
    }
    int next = openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int code = errno;
    close(directory);
    directory = next;
    if (next < 0) fail(error, code);
  }
  if (directory >= 0) close(directory);
  return -1;
}

}  // namespace

bool read_file_beneath(int root_fd, std::string_view path, size_t cap, std::string& out, std::string& error) {
  std::string name;
  int parent = open_parent(root_fd, path, false, -1, name, error);
  if (parent < 0) return false;
  // Not blocking: the name may be a pipe.
  int fd = openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  int code = errno;
  close(parent);
  if (fd < 0) return fail(error, code);
  struct stat info;
  bool ok = false;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    error = "not a regular file";
  } else if (static_cast<size_t>(info.st_size) > cap) {
    error = "larger than 64 MiB";
  } else {
    out.resize(static_cast<size_t>(info.st_size));
    size_t filled = 0;
    for (ssize_t n; filled < out.size() && (n = read(fd, out.data() + filled, out.size() - filled)) > 0;) {
      filled += static_cast<size_t>(n);
    }
    out.resize(filled);
    ok = true;
  }
  close(fd);
  return ok;
}

bool write_file_beneath(int root_fd, std::string_view path, std::string_view data, long owner, std::string& error) {
  std::string name;
  int parent = open_parent(root_fd, path, true, owner, name, error);
  if (parent < 0) return false;
  int fd = openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
  int code = errno;
  close(parent);
  if (fd < 0) return fail(error, code);
  struct stat info;
  bool ok = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  if (!ok) error = "not a regular file";
  if (ok && owner >= 0) ok = fchown(fd, static_cast<uid_t>(owner), static_cast<gid_t>(owner)) == 0;
  while (ok && !data.empty()) {
    ssize_t n = write(fd, data.data(), data.size());
    ok = n > 0;
    if (ok) data.remove_prefix(static_cast<size_t>(n));
  }
  if (!ok && error.empty()) fail(error, errno);
  close(fd);
  return ok;
}

bool make_directory_beneath(int root_fd, std::string_view path, long owner, std::string& error) {
  std::string name;
  int parent = open_parent(root_fd, path, false, -1, name, error);
  if (parent < 0) return false;
  bool ok = mkdirat(parent, name.c_str(), 0755) == 0;
  if (ok && owner >= 0)
    ok = fchownat(parent, name.c_str(), static_cast<uid_t>(owner), static_cast<gid_t>(owner), AT_SYMLINK_NOFOLLOW) == 0;
  int code = errno;
  close(parent);
  return ok || fail(error, code);
}

bool remove_beneath(int root_fd, std::string_view path, bool directory, std::string& error) {
  std::string name;
  int parent = open_parent(root_fd, path, false, -1, name, error);
  if (parent < 0) return false;
  bool ok = unlinkat(parent, name.c_str(), directory ? AT_REMOVEDIR : 0) == 0;
  int code = errno;
  close(parent);
  return ok || fail(error, code);
}

void remove_tree(int parent_fd, const char* name) {
  int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    // A directory that its owner locked, or no directory.
    if (errno == EACCES) {
      fchmodat(parent_fd, name, 0700, 0);
      fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0) {
      unlinkat(parent_fd, name, 0);
      return;
    }
  }
  fchmod(fd, 0700);
  DIR* directory = fdopendir(fd);
  if (directory == nullptr) {
    close(fd);
    return;
  }
  while (dirent* found = readdir(directory)) {
    if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
    if (unlinkat(fd, found->d_name, 0) != 0) remove_tree(fd, found->d_name);
  }
  closedir(directory);
  unlinkat(parent_fd, name, AT_REMOVEDIR);
}

}  // namespace echo
