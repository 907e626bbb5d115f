// Compiled code with its tile instructions emulated, on machines with AMX and without: it runs one
// instruction at a time, and what stands in the object code is looked at before the processor sees it. So a
// test knows what a compiler made of the source.
#pragma once

#include <cstddef>

#include "tests/engine/emulated_tiles.h"

namespace qdqbert::testing {

/// Carries out the tile instruction at which the context of a signal stands, and steps over it; false, and
/// nothing happens, where it is another one. Knows ldtilecfg, tilerelease, tilezero, tileloadd, tileloaddt1,
/// tilestored and tdpbssd; any other tile instruction is a fault.
bool emulate_tile_instruction(void* ucontext, EmulatedTiles& tiles);

/// Calls call(context) on this thread, one instruction at a time. One thread at a time.
void run_stepwise(EmulatedTiles& tiles, void (*call)(void*), void* context);

template <class Call>
void run_stepwise(EmulatedTiles& tiles, Call&& call) {
  run_stepwise(
      tiles, [](void* context) { (*static_cast<Call*>(context))(); }, &call);
}

}  // namespace qdqbert::testing
