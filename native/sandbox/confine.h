// Landlock and seccomp: what a process gives up for good. Raw system calls only, so all of it may run between vfork and exec.
#pragma once

namespace echo {

// Highest Landlock version the kernel offers, 0 for none.
int landlock_version();

// A ruleset that lets its holder read and run programs below `readable` (a null-terminated list) and change files below
// `writable`, use no TCP, and signal only processes under the same ruleset. -1 when the kernel refuses.
int make_landlock_ruleset(const char* const* readable, const char* const* writable);

// Confines the calling process and its children; needs no_new_privs. False when the kernel refuses.
bool apply_landlock(int ruleset);

// Refuses sockets, tracing, mounting, new namespaces, keys and other doors into the kernel that no command here needs.
bool apply_seccomp();

}  // namespace echo
