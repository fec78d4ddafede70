// x += 1 over a [rows, ld] block with the loss's own schedule, threads and tier: one read and one write of every byte. The bandwidth it
// reaches is what the loss is measured against (bench/loss.ts).
#pragma once

#include <cstdint>

namespace echo {

void in_place_update(float* x, int64_t rows, int64_t ld);

}  // namespace echo
