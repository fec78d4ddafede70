// Reading and writing below a directory that a hostile program may be changing at the same time: no link is ever followed.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace echo {

// Reads a regular file of at most `cap` bytes. False with the reason in `error`.
bool read_file_beneath(int root_fd, std::string_view path, size_t cap, std::string& out, std::string& error);

// Creates or replaces a file, making missing directories; `owner` >= 0 becomes the owner of what is made.
bool write_file_beneath(int root_fd, std::string_view path, std::string_view data, long owner, std::string& error);

// Creates a directory whose parent exists.
bool make_directory_beneath(int root_fd, std::string_view path, long owner, std::string& error);

// Removes a file, or an empty directory.
bool remove_beneath(int root_fd, std::string_view path, bool directory, std::string& error);

// Removes a directory and all in it.
void remove_tree(int parent_fd, const char* name);

}  // namespace echo
