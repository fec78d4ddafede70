#pragma once

#include "echo_loss.h"

namespace echo {

// Sums of a call are those of its chunks, in order.
void add_totals(const EchoLossTotals& part, EchoLossTotals* sum);

}  // namespace echo
