// The objective's rows, options and totals between JavaScript objects and native/loss, for every operation that computes the loss.
#pragma once

#include <napi.h>

#include <cstdint>

#include "../loss/echo_loss.h"

namespace echo::addon {

// Row vectors of `rows` entries (lib/loss/loss-rows.ts) into `args`. Each weighted row is checked: its target within the vocabulary, its
// numbers finite. False after throwing.
bool take_loss_rows(Napi::Object vectors, int64_t rows, int64_t vocab, EchoLossArgs& args);

// Every option of lib/loss/loss-options.ts, none left out. False after throwing.
bool take_loss_options(Napi::Object options, EchoLossArgs& args);

// LossTotals of lib/loss/loss-totals.ts.
Napi::Object totals_object(Napi::Env env, const EchoLossTotals& totals, const EchoLossArgs& args);

}  // namespace echo::addon
