// Code that may hold instructions which this machine does not know, and yet a process that goes on.
#pragma once

namespace qdqbert::engine {

/// Calls call(context); false where it met an illegal instruction, and was left there. So it must own
/// nothing: no destructor runs. Another thread's illegal instructions meanwhile are those of whoever handled
/// SIGILL before, and so are all afterwards. Thread-safe; not to be called from within `call`.
bool survives(void (*call)(void*), void* context);

template <class Call>
bool survives(Call&& call) {
  return survives([](void* context) { (*static_cast<Call*>(context))(); }, &call);
}

}  // namespace qdqbert::engine
