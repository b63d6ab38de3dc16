#!/bin/sh
# Fetches mbedTLS's upstream archive out of Debian's source package, checks its hash and unpacks it.
#
# usage: mbedtls/fetch.sh DIRECTORY     (the library lands in DIRECTORY/mbedtls-VERSION)
#
# Debian 12 has an older mbedTLS than the 3.6 long-term line, so the package is taken from Debian 13
# by a private sources list, private package lists and a private cache: the machine's own apt
# configuration is read for its mirror and otherwise left alone. Debian's signature on the index is
# checked by apt, the archive's hash by us, so that a mirror cannot change what we build.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/version"
mkdir -p "$1"
out=$(cd "$1" && pwd)
tree="$out/mbedtls-$MBEDTLS_VERSION"
[ -f "$tree/.verified-$MBEDTLS_SHA256" ] && exit 0

private="$out/apt"
rm -rf "$private" "$tree"
mkdir -p "$private/lists/partial" "$private/archives/partial" "$private/sources.d"

mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Identifier: Packages' \
  | awk '$2 !~ /security|updates|backports/ {print $1; exit}')}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -z "$mirror" ]; then
  echo "fetch.sh: no Debian mirror in this machine's apt configuration; set DEBIAN_MIRROR" >&2
  exit 1
fi
echo "deb-src [signed-by=$keyring] $mirror trixie main" > "$private/sources.list"

private_apt() {
  apt-get -q \
    -o Dir::Etc::sourcelist="$private/sources.list" -o Dir::Etc::sourceparts="$private/sources.d" \
    -o Dir::State::lists="$private/lists" -o Dir::Cache="$private" \
    -o Dir::Cache::archives="$private/archives" -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
private_apt update >&2
package=$(cd "$private" && private_apt source --print-uris --only-source mbedtls 2>/dev/null \
  | sed -n "s/^'[^']*\/mbedtls_\(${MBEDTLS_VERSION}[^']*\)\.dsc'.*/\1/p" | sed 's/%7e/~/; s/%2b/+/' | head -1)
if [ -z "$package" ]; then
  echo "fetch.sh: Debian 13 no longer has mbedTLS $MBEDTLS_VERSION; update mbedtls/version" >&2
  exit 1
fi
(cd "$private" && private_apt source --download-only --only-source "mbedtls=$package" >&2)

archive=$(find "$private" -maxdepth 1 -name "mbedtls_*.orig.tar.*" ! -name '*.asc' | head -1)
actual=$(sha256sum "$archive" | cut -d' ' -f1)
if [ "$actual" != "$MBEDTLS_SHA256" ]; then
  echo "fetch.sh: $(basename "$archive") has SHA-256 $actual, expected $MBEDTLS_SHA256" >&2
  exit 1
fi
mkdir "$tree"
tar -xf "$archive" -C "$tree" --strip-components=1
touch "$tree/.verified-$MBEDTLS_SHA256"
rm -rf "$private"
