#!/bin/sh
# Installs what the Active Directory bed needs on Debian 12 (Samba from its backports) or 13, as root, without letting a
# service start. Nothing is done when it is there already.
set -eu

packages=""
need() { # need COMMAND-OR-FILE PACKAGE…
  if ! command -v "$1" > /dev/null 2>&1 && [ ! -e "$1" ]; then
    shift
    packages="$packages $*"
  fi
}
need samba samba samba-ad-dc samba-ad-provision samba-dsdb-modules winbind python3-samba
need kinit krb5-user
need /usr/lib/x86_64-linux-gnu/sasl2/libgssapiv2.so libsasl2-modules-gssapi-mit
need openssl openssl
need faketime faketime
need chromium chromium
[ -n "$packages" ] || exit 0

target=""
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ "$release" = bookworm ]; then
  # Older Sambas have no group managed service accounts.
  if ! cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | grep -q bookworm-backports; then
    mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Identifier: Packages' | awk '$2 == "bookworm" {print $1; exit}')
    [ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2> /dev/null |
      awk '/security/ {next} /^URIs:/ || /^deb http/ {print $2; exit}')
    printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' \
      "$mirror" /usr/share/keyrings/debian-archive-keyring.gpg > /etc/apt/sources.list.d/bookworm-backports.sources
  fi
  target="-t bookworm-backports"
fi

# Debian asks this program whether a package may start its service.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get -q update
# shellcheck disable=SC2086 # several words on purpose
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $target $packages
