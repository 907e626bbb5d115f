#include "tests/engine/tile_instructions.h"

#include <csignal>
#include <cstdint>
#include <cstring>

#include <ucontext.h>

namespace qdqbert::testing {

namespace {

/// By the number that instructions give them.
constexpr int kRegisters[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
constexpr greg_t kTrapFlag = 0x100;

/// A memory operand, its index apart: that of tile loads and stores is a stride.
struct Operand {
  uint8_t* base = nullptr;
  ptrdiff_t index = 0;
  const uint8_t* end = nullptr;  ///< of the instruction
};

template <class T>
ptrdiff_t displacement(const uint8_t*& at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  at += sizeof(value);
  return value;
}

/// `at`: the ModRM byte of an instruction without immediate,
/// whose VEX prefix extends index and base by x and b.
Operand decode(const greg_t* registers, const uint8_t* at, bool x, bool b) {
  const uint8_t modrm = *at++;
  const unsigned mod = modrm >> 6, rm = modrm & 7;
  const auto value = [&](unsigned number, bool high) {
    return static_cast<ptrdiff_t>(registers[kRegisters[number + (high ? 8 : 0)]]);
  };
  Operand operand;
  ptrdiff_t base = 0;
  bool relative = false, wide = mod == 2;
  if (rm == 4) {
    const uint8_t sib = *at++;
    const unsigned index = sib >> 3 & 7;
    // 4 means none, unless extended to r12.
    if (index != 4 || x) operand.index = value(index, x) * (1 << (sib >> 6));
    if ((sib & 7) == 5 && mod == 0)
      wide = true;
    else
      base = value(sib & 7, b);
  } else if (rm == 5 && mod == 0) {
    relative = wide = true;
  } else {
    base = value(rm, b);
  }
  if (mod == 1) base += displacement<int8_t>(at);
  if (wide) base += displacement<int32_t>(at);
  if (relative) base += reinterpret_cast<ptrdiff_t>(at);
  operand.base = reinterpret_cast<uint8_t*>(base);
  operand.end = at;
  return operand;
}

EmulatedTiles* volatile stepped = nullptr;

void on_trap(int, siginfo_t*, void* context) {
  greg_t& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
  if (!stepped) {
    flags &= ~kTrapFlag;
    return;
  }
  flags |= kTrapFlag;
  while (emulate_tile_instruction(context, *stepped)) {
  }
}

}  // namespace

bool emulate_tile_instruction(void* context, EmulatedTiles& tiles) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* at = reinterpret_cast<const uint8_t*>(registers[REG_RIP]);
  // Three bytes of VEX: the second map of opcodes, no W, 128 bits.
  if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84) != 0) return false;
  const unsigned prefix = at[2] & 3;  // none, 66, F3, F2
  const uint8_t opcode = at[3], modrm = at[4];
  if (opcode != 0x49 && opcode != 0x4b && opcode != 0x5e && opcode != 0x5c) return false;
  // X and B stand inverted.
  const bool in_register = modrm >> 6 == 3;
  const Operand memory =
      in_register ? Operand{nullptr, 0, at + 5} : decode(registers, at + 4, !(at[1] & 0x40), !(at[1] & 0x20));
  const size_t tile = modrm >> 3 & 7;
  if (opcode == 0x49 && prefix == 0 && !in_register && tile == 0)
    tiles.load_configuration(memory.base + memory.index);
  else if (opcode == 0x49 && prefix == 0 && modrm == 0xc0)
    tiles.release();
  else if (opcode == 0x49 && prefix == 3 && in_register)
    tiles.zero(tile);
  else if (opcode == 0x4b && (prefix == 3 || prefix == 1) && !in_register)
    tiles.load(tile, memory.base, memory.index);
  else if (opcode == 0x4b && prefix == 2 && !in_register)
    tiles.store(tile, memory.base, memory.index);
  else if (opcode == 0x5e && prefix == 3 && in_register)
    // The third operand is in the prefix, inverted.
    tiles.multiply(tile, modrm & 7, ~(at[2] >> 3) & 7);
  else if (tiles.fault.empty())
    tiles.fault = "a tile instruction that is not emulated";
  registers[REG_RIP] = reinterpret_cast<greg_t>(memory.end);
  return true;
}

void run_stepwise(EmulatedTiles& tiles, void (*call)(void*), void* context) {
  struct sigaction ours = {}, before;
  ours.sa_sigaction = on_trap;
  ours.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &ours, &before);
  stepped = &tiles;
  // The handler sets the trap flag of whoever it returns to.
  raise(SIGTRAP);
  call(context);
  stepped = nullptr;
  // Between the two at least one instruction has trapped and lost the flag.
  sigaction(SIGTRAP, &before, nullptr);
}

}  // namespace qdqbert::testing
