#include "shell_driver.h"

namespace echo {
namespace {

// `@` stands for the quoted root.
constexpr const char* kDriver =
    "submit() { if [ $# -eq 1 ]; then builtin printf '%s\\n' \"$1\" > @/.submitted; "
    "else builtin echo 'usage: submit WORD' >&2; return 2; fi; }; "
    "while IFS= builtin read -r -d '' -u 3 __command; do builtin eval \"$__command\" 3<&- 4>&-; "
    "builtin printf '%d %s\\0' $? \"$PWD\" >&4; done";
// Where the root is not at its fixed place, pwd shows the fixed place all the same.
constexpr const char* kPwd = "pwd() { builtin printf '%s\\n' \"/home/agent${PWD#@}\"; }; ";

std::string quoted(const std::string& path) {
  std::string text(1, '\'');
  for (char c : path) {
    if (c == '\'') text.append("'\\'");
    text.push_back(c);
  }
  text.push_back('\'');
  return text;
}

std::string fill_in(const char* script, const std::string& root) {
  std::string text;
  for (; *script != 0; script++) {
    if (*script == '@') text.append(quoted(root));
    else text.push_back(*script);
  }
  return text;
}

}  // namespace

std::string shell_driver(const std::string& root, bool fixed_root) {
  return (fixed_root ? std::string() : fill_in(kPwd, root)) + fill_in(kDriver, root);
}

}  // namespace echo
