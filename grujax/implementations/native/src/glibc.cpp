// Two symbols that GCC's headers refer to, and that Linux distributions of 2018 (glibc 2.28, GCC 8's
// libstdc++) do not have. The definitions are local to the library, see `exports.map`.
#include <new>

#if defined(__linux__) && defined(__GLIBCXX__)
// Whether the process has one thread. False is always safe.
extern "C" {
char __libc_single_threaded = 0;
}

namespace std {
// What a container throws if its size overflows.
__attribute__((weak)) void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}  // namespace std
#endif
