#!/bin/sh
# Installs Debian's Docker engine for the Docker bed, as root, without letting its service start. Nothing is done when it is
# there already.
set -eu

packages=""
need() { # need COMMAND PACKAGE…
  if ! command -v "$1" > /dev/null 2>&1; then
    shift
    packages="$packages $*"
  fi
}
need dockerd docker.io
need ip iproute2
need nsenter util-linux
[ -n "$packages" ] || exit 0

# Debian asks this program whether a package may start its service.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get -q -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086 # several words on purpose
DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $packages
