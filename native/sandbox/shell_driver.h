#pragma once

#include <string>

namespace echo {

// The script of the persistent shell: reads NUL-terminated commands on descriptor 3 and writes "status cwd NUL" on
// descriptor 4 after each; both are closed for what a command starts. `fixed_root`: the root lies where agents see it.
std::string shell_driver(const std::string& root, bool fixed_root);

}  // namespace echo
