// A program whose clock is wrong, by a library in front of the C library's.
'use strict';
const {execFileSync} = require('child_process');
const fs = require('fs');

/** The environment in which a program that `ctx` starts sees the clock `by` seconds on, or back. */
function otherClock(ctx, by) {
  const shim = ctx.path(`clock${by}.so`);
  if (!fs.existsSync(shim))
    execFileSync('g++', ['-shared', '-fPIC', '-x', 'c++', '-', '-o', shim], {input: `
      #include <sys/syscall.h>
      #include <time.h>
      #include <unistd.h>
      extern "C" int clock_gettime(clockid_t which, struct timespec* out) noexcept {
          const long failed = syscall(SYS_clock_gettime, which, out);
          if (failed == 0 && which == CLOCK_REALTIME) out->tv_sec += ${by};
          return static_cast<int>(failed);
      }`});
  return {LD_PRELOAD: shim};
}

module.exports = {otherClock};
