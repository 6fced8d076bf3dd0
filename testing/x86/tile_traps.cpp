// Lets the kernels for AMX run on a processor without it: a library for LD_PRELOAD.
//
// Such a processor raises SIGILL at an instruction for tiles. A handler reads the instruction, lets tile_unit.h compute
// it, and goes on behind it. So the library under test is the one that users get.

#include <dlfcn.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "tile_unit.h"

namespace {

using namespace tile_unit;

thread_local TileUnit unit;

// An instruction in the three-byte VEX encoding, which all instructions for tiles have.
class Instruction {
 public:
  Instruction(const uint8_t* bytes, const greg_t* registers) : bytes_(bytes), registers_(registers) {}

  bool is_for_tiles() const {
    const bool no_wide_or_long = (bytes_[2] & 0x84) == 0;
    return bytes_[0] == 0xc4 && (bytes_[1] & 0x1f) == 2 && no_wide_or_long && name() != 0;
  }

  // Returns the opcode, and above it the prefix: 0 none, 1 66, 2 F3, 3 F2. Returns 0 if it is not one for tiles.
  int name() const {
    const int opcode = bytes_[3];
    const bool known = opcode == 0x49 || opcode == 0x4b || opcode == 0x5c || opcode == 0x5e;
    return known ? (bytes_[2] & 3) << 8 | opcode : 0;
  }

  bool has_memory() const { return mod() != 3; }
  int tile() const { return bytes_[4] >> 3 & 7; }
  int left() const { return low(); }
  int right() const { return ~bytes_[2] >> 3 & 15; }

  int64_t length() const {
    if (!has_memory()) return 5;
    const bool wide = mod() == 2 || (mod() == 0 && (low() == 5 || (has_index() && (bytes_[5] & 7) == 5)));
    return 5 + has_index() + (wide ? 4 : mod() == 1 ? 1 : 0);
  }

  // Where the memory begins. For rows, `stride` is the distance from one to the next.
  char* base() const {
    int64_t address = length() - after_registers() == 4 ? displacement<int32_t>() : 0;
    if (length() - after_registers() == 1) address = displacement<int8_t>();
    if (mod() == 0 && low() == 5) {
      address += reinterpret_cast<int64_t>(bytes_) + length();
    } else if (!has_index()) {
      address += value(low() | extended(5));
    } else if (mod() != 0 || (bytes_[5] & 7) != 5) {
      address += value((bytes_[5] & 7) | extended(5));
    }
    return reinterpret_cast<char*>(address);
  }

  int64_t stride() const {
    const int index = has_index() ? (bytes_[5] >> 3 & 7) | extended(6) : 4;
    return index == 4 ? 0 : value(index) * (1 << (bytes_[5] >> 6));
  }

 private:
  int mod() const { return bytes_[4] >> 6; }
  int low() const { return bytes_[4] & 7; }
  bool has_index() const { return has_memory() && low() == 4; }
  int after_registers() const { return 5 + has_index(); }
  int extended(int bit) const { return (~bytes_[1] >> bit & 1) << 3; }

  template <typename T>
  int64_t displacement() const {
    T found;
    std::memcpy(&found, bytes_ + after_registers(), sizeof found);
    return found;
  }

  int64_t value(int number) const {
    static constexpr int IN_ORDER[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                       REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return registers_[IN_ORDER[number]];
  }

  const uint8_t* bytes_;
  const greg_t* registers_;
};

constexpr int NO_PREFIX = 0, P66 = 1 << 8, PF3 = 2 << 8, PF2 = 3 << 8;

void execute(const Instruction& instruction) {
  const int tile = instruction.tile(), left = instruction.left(), right = instruction.right();
  switch (instruction.name()) {
    case NO_PREFIX | 0x49:  // ldtilecfg, tilerelease
      if (!instruction.has_memory()) return unit.release();
      return unit.load_config(*reinterpret_cast<const Config*>(instruction.base()));
    case P66 | 0x49: return unit.store_config(instruction.base());                       // sttilecfg
    case PF2 | 0x49: return unit.zero(tile);                                             // tilezero
    case PF2 | 0x4b: return unit.load(tile, instruction.base(), instruction.stride());   // tileloadd
    case PF3 | 0x4b: return unit.store(tile, instruction.base(), instruction.stride());  // tilestored
    case PF3 | 0x5c: return unit.multiply_bfloat16(tile, left, right);                   // tdpbf16ps
    case PF3 | 0x5e: return unit.multiply_bytes(tile, left, right);                      // tdpbsud
    default: throw Fault("an instruction that the kernels do not use");
  }
}

void on_illegal_instruction(int, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto next = [&] { return Instruction(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), registers); };
  if (!next().is_for_tiles()) {  // another fault: it comes again, and ends the process
    signal(SIGILL, SIG_DFL);
    return;
  }
  while (next().is_for_tiles()) {  // a signal takes longer than an instruction, so this goes on to the end of a run
    try {
      execute(next());
    } catch (const Fault& fault) {
      std::fprintf(stderr, "An instruction for tiles has failed: %s.\n", fault.what());
      std::abort();
    }
    registers[REG_RIP] += next().length();
  }
}

__attribute__((constructor)) void install() {
  struct sigaction action = {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace

// Takes the place of the C library's function. Linux would not let the process use tiles.
extern "C" long syscall(long number, ...) {
  constexpr long ARCH_REQ_XCOMP_PERM = 0x1023;
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_arch_prctl && arguments[0] == ARCH_REQ_XCOMP_PERM) return 0;
  static const auto original = reinterpret_cast<long (*)(long, ...)>(dlsym(RTLD_NEXT, "syscall"));
  return original(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
