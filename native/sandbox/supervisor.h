// The supervisor: one process per trainer that owns every sandbox, enforces deadlines and output caps, and answers Node.
#pragma once

#include "isolation.h"

namespace echo {

// Serves requests from descriptor 0, replies on descriptor 1, until 0 ends or a signal asks to stop; then ends every
// sandbox. Returns the exit status.
int run_supervisor(const Isolation& isolation);

}  // namespace echo
