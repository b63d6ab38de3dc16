#!/bin/sh
# Prints what a DLL is: its hash, size, flags, exports and imports.
#
# usage: tools/inspect.sh DLL [--check]     --check fails unless it is as the plugin has to be
set -eu
tool=x86_64-w64-mingw32-objdump
headers=$($tool -p "$1")
size=$(wc -c < "$1" | tr -d ' ')
flags=$(printf '%s\n' "$headers" | sed -n 's/^[[:space:]]*\(HIGH_ENTROPY_VA\|DYNAMIC_BASE\|NX_COMPAT\)$/\1/p' | LC_ALL=C sort | xargs)
exports=$(printf '%s\n' "$headers" | sed -n '/Ordinal\/Name Pointer/,/^$/s/.*\] //p' | grep -v Table | LC_ALL=C sort | xargs)
imports=$(printf '%s\n' "$headers" | sed -n 's/^[[:space:]]*DLL Name: //p' | LC_ALL=C sort | xargs)
echo "sha256   $(sha256sum "$1" | cut -d' ' -f1)"
echo "size     $size bytes"
echo "flags    $flags"
echo "exports  $exports"
echo "imports  $imports"
[ "${2:-}" = --check ] || exit 0

expect() {
  [ "$2" = "$3" ] && return
  echo "$1 should be: $3" >&2
  exit 1
}
expect flags "$flags" "DYNAMIC_BASE HIGH_ENTROPY_VA NX_COMPAT"
expect exports "$exports" "DllCanUnloadNow DllGetClassObject DllInstall DllRegisterServer DllUnregisterServer"
expect imports "$imports" "ADVAPI32.dll KERNEL32.dll WS2_32.dll bcrypt.dll ole32.dll"
expect "the file type" "$(printf '%s\n' "$headers" | sed -n 's/.*file format //p' | head -1)" pei-x86-64
if [ "$size" -ge 200000 ]; then
  echo "the size should be under 200000 bytes" >&2
  exit 1
fi
