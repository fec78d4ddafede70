#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "files.h"
#include "protocol.h"

namespace echo {
namespace {

struct Entry {
  std::string path;
  TreeEntry kind;
  std::string bytes;
};

struct Walk {
  std::vector<Entry> entries;
  size_t bytes = 0;
  std::string& error;

  bool fail(std::string_view reason) {
    error = reason;
    return false;
  }
  // Takes the descriptor.
  bool file(int fd, const struct stat& info, std::string path) {
    Entry entry{std::move(path), TreeEntry::kFile, std::string(static_cast<size_t>(info.st_size), '\0')};
    const ssize_t n = entry.bytes.empty() ? 0 : read(fd, entry.bytes.data(), entry.bytes.size());
    close(fd);
    if (n != static_cast<ssize_t>(entry.bytes.size())) return fail("a file could not be read whole");
    entries.push_back(std::move(entry));
    return true;
  }
  // Takes the descriptor.
  bool directory(int fd, const std::string& prefix) {
    DIR* stream = fdopendir(fd);
    if (stream == nullptr) {
      const int code = errno;
      close(fd);
      return fail(strerror(code));
    }
    bool ok = true;
    while (const dirent* found = ok ? readdir(stream) : nullptr) {
      if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
      ok = entry(fd, found->d_name, prefix + found->d_name);
    }
    closedir(stream);
    return ok;
  }
  bool entry(int parent, const char* name, std::string path) {
    const int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
      const int code = errno;
      if (fd >= 0) close(fd);
      return fail(code == ELOOP ? "a link" : strerror(code));
    }
    const bool plain_file = S_ISREG(info.st_mode) && (info.st_mode & 07777) == 0644 && info.st_nlink == 1;
    const bool plain_directory = S_ISDIR(info.st_mode) && (info.st_mode & 07777) == 0755;
    bytes += path.size() + 9 + (plain_file ? static_cast<size_t>(info.st_size) : 0);
    const bool small = bytes <= kMaxTreeBytes && entries.size() < kMaxTreeEntries;
    if (!small || (!plain_file && !plain_directory)) {
      close(fd);
      return fail(small ? "more than plain files and directories" : "too much to hand out");
    }
    if (plain_file) return file(fd, info, std::move(path));
    entries.push_back({path, TreeEntry::kDirectory, {}});
    return directory(fd, path + "/");
  }
};

}  // namespace

bool read_tree(int root_fd, std::string& out, std::string& error) {
  const int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    error = strerror(errno);
    return false;
  }
  Walk walk{{}, 0, error};
  if (!walk.directory(fd, "")) return false;
  std::sort(walk.entries.begin(), walk.entries.end(), [](const Entry& a, const Entry& b) { return a.path < b.path; });
  out.reserve(walk.bytes);
  for (const Entry& entry : walk.entries) {
    out.push_back(static_cast<char>(entry.kind));
    put_u32(out, static_cast<uint32_t>(entry.path.size()));
    out += entry.path;
    if (entry.kind == TreeEntry::kDirectory) continue;
    put_u32(out, static_cast<uint32_t>(entry.bytes.size()));
    out += entry.bytes;
  }
  return true;
}

bool edit_tree(int root_fd, std::string_view edits, long owner, std::string& error) {
  PayloadReader reader = {edits};
  while (!reader.rest.empty()) {
    const std::string_view kind = reader.bytes(1);
    const std::string_view path = reader.bytes(reader.u32());
    const TreeEdit edit = reader.ok ? static_cast<TreeEdit>(kind[0]) : TreeEdit::kMakeDirectory;
    const std::string_view bytes = edit == TreeEdit::kWriteFile ? reader.bytes(reader.u32()) : std::string_view();
    bool made = false;
    if (!reader.ok || edit > TreeEdit::kRemoveDirectory) {
      error = "a broken list of edits";
      return false;
    }
    switch (edit) {
      case TreeEdit::kMakeDirectory:
        made = make_directory_beneath(root_fd, path, owner, error);
        break;
      case TreeEdit::kWriteFile:
        made = write_file_beneath(root_fd, path, bytes, owner, error);
        break;
      case TreeEdit::kRemoveFile:
      case TreeEdit::kRemoveDirectory:
        made = remove_beneath(root_fd, path, edit == TreeEdit::kRemoveDirectory, error);
        break;
    }
    if (made) continue;
    error += ": ";
    error += path;
    return false;
  }
  return true;
}

}  // namespace echo
