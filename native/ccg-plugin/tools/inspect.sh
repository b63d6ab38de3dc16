#!/bin/sh
# Prints what a DLL is: its hash, size, flags, exports and imports.
set -eu
tool=x86_64-w64-mingw32-objdump
printf 'sha256   %s\n' "$(sha256sum "$1" | cut -d' ' -f1)"
printf 'size     %s bytes\n' "$(wc -c < "$1" | tr -d ' ')"
printf 'flags    %s\n' "$($tool -p "$1" | sed -n 's/^[[:space:]]*\(HIGH_ENTROPY_VA\|DYNAMIC_BASE\|NX_COMPAT\)$/\1/p' | tr '\n' ' ')"
printf 'exports  %s\n' "$($tool -p "$1" | sed -n '/Ordinal\/Name Pointer/,/^$/s/.*\] //p' | grep -v Table | LC_ALL=C sort | tr '\n' ' ')"
printf 'imports  %s\n' "$($tool -p "$1" | sed -n 's/^[[:space:]]*DLL Name: //p' | LC_ALL=C sort | tr '\n' ' ')"
