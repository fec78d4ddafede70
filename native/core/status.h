// Result codes of every native operation. No exceptions cross the C contracts; the addon maps codes to messages.
#pragma once

namespace echo {

enum class Status : int {
  ok = 0,
  invalid_argument = 1,  // a null pointer, a negative size, ld < V: the addon should have refused it
  out_of_memory = 2,
  unsupported = 3,
  target_out_of_range = 4,
  not_finite = 5,
  cuda = 6,  // what it was stands beside it
};

}  // namespace echo
