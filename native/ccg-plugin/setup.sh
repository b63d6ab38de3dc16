#!/bin/sh
# Installs what `make` and the Windows bed need on Debian 12 or 13, as root. Nothing is done when it is there already.
#
# usage: setup.sh [all]     `all` adds what `make check`, `make analyse` and `make fuzz` need
set -eu

packages=""
need() { # need COMMAND-OR-FILE PACKAGE…
  if ! command -v "$1" > /dev/null 2>&1 && [ ! -e "$1" ]; then
    shift
    packages="$packages $*"
  fi
}
need make make
need gcc gcc libc6-dev
need x86_64-w64-mingw32-gcc-win32 gcc-mingw-w64-x86-64-win32
need x86_64-w64-mingw32-widl mingw-w64-tools
need /usr/lib/wine/wine64 wine64 wine
need bzip2 bzip2
if [ "${1:-}" = all ]; then
  need clang clang
  need cppcheck cppcheck
fi
if [ -n "$packages" ]; then
  apt-get -q update
  # shellcheck disable=SC2086 # several words on purpose
  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages
fi
if [ "${1:-}" = all ]; then
  # libFuzzer and the sanitizers' run-time parts come in a package named after clang's version.
  version=$(clang -dumpversion | cut -d. -f1)
  if ! ls "/usr/lib/llvm-$version/lib/clang/"*/lib/linux/libclang_rt.fuzzer-*.a > /dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "libclang-rt-$version-dev"
  fi
fi
