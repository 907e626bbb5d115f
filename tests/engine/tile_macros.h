// For a test that compiles a kernel's own source: the tile instructions become functions that check what the
// hardware would fault on. To be included right before that source.
#pragma once

#include <immintrin.h>

#include "tests/engine/emulated_tiles.h"

namespace {
qdqbert::testing::EmulatedTiles tiles;
}  // namespace

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_zero(t) ::tiles.zero(t)
#define _tile_loadd(t, from, stride) ::tiles.load(t, from, static_cast<ptrdiff_t>(stride))
#define _tile_stream_loadd(t, from, stride) ::tiles.load(t, from, static_cast<ptrdiff_t>(stride))
#define _tile_stored(t, to, stride) ::tiles.store(t, to, static_cast<ptrdiff_t>(stride))
#define _tile_dpbssd(sums, a, b) ::tiles.multiply(sums, a, b)
