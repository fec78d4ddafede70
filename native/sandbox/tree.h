// The files below a directory as one string, and changes to them: how a sandbox is brought from one state into another.
//
// A tree is its entries in the order of their paths' bytes: u8 kind, u32 path length, path and, of a file, u32 size, bytes.
// An edit list is of the same form with the kinds of TreeEdit, in the order in which they are made.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace echo {

enum class TreeEntry : char { kDirectory = 0, kFile = 1 };

enum class TreeEdit : char { kMakeDirectory = 0, kWriteFile = 1, kRemoveFile = 2, kRemoveDirectory = 3 };

// Most bytes of a tree that is handed out, and most entries.
constexpr size_t kMaxTreeBytes = 1u << 20;
constexpr size_t kMaxTreeEntries = 4096;

// False with the reason in `error` when the tree is larger, or holds more than plain files (mode 0644, one name) and directories (0755),
// which is all that a path and its bytes can say.
bool read_tree(int root_fd, std::string& out, std::string& error);

// Stops at the first edit that cannot be made. `owner` >= 0 becomes the owner of what is made.
bool edit_tree(int root_fd, std::string_view edits, long owner, std::string& error);

}  // namespace echo
