#!/bin/sh
# Tells the kube-apiserver of a control-plane node (a static pod, as kubeadm makes it) to ask the authenticator.
#
#   configure-api-server.sh [--manifest FILE] [--kubeconfig FILE] [--backups FOLDER] [--undo]
#
# May be run again: what is there is left alone. The manifest is copied to the backups folder before each change, and is
# replaced in one step; --undo takes away exactly what was added, and nothing where another webhook is asked. The kubelet
# restarts the API server by itself.
set -eu

manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
kubeconfig=/etc/kubernetes/ack-ram-authenticator/kubeconfig.yaml
backups=/etc/kubernetes/ack-ram-authenticator/backups
undo=no

fail() {
  echo "configure-api-server.sh: $1" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --manifest) manifest=${2:?} && shift 2 ;;
    --kubeconfig) kubeconfig=${2:?} && shift 2 ;;
    --backups) backups=${2:?} && shift 2 ;;
    --undo) undo=yes && shift ;;
    *) fail "there is no option $1; see the head of this file" ;;
  esac
done

[ -f "$manifest" ] || fail "$manifest is not there: run this on a control-plane node, or name the file with --manifest"
folder=$(dirname "$kubeconfig")
flag=--authentication-token-webhook-config-file
name=ack-ram-authenticator

# A file that the kubelet must not take for a pod: it lies beside the backups until it is complete.
mkdir -p "$backups"
work=$(mktemp "$backups/.kube-apiserver.XXXXXX")
trap 'rm -f "$work"' EXIT

# What the API server asks now, without the quotes that a manifest may have.
asked=$(sed -n "s/^ *- [\"']\{0,1\}$flag=//p" "$manifest" | tr -d "\"'")

if [ "$undo" = yes ]; then
  if [ -n "$asked" ] && [ "$asked" != "$kubeconfig" ]; then
    fail "the API server asks $asked, not $kubeconfig; nothing was changed. If that file is the authenticator's, name it with --kubeconfig."
  fi
  # Every added line is known by its text; a block is a "- " line with what is indented below it.
  awk -v flag="$flag" -v name="$name" '
    function flush() { if (!drop) printf "%s", block; block = ""; drop = 0 }
    after_flag && /^ *- --authentication-token-webhook-version=v1$/ { after_flag = 0; next }
    { after_flag = 0 }
    index($0, flag "=") && /^ *- / { after_flag = 1; next }
    /^ *- / { flush(); match($0, /^ */); depth = RLENGTH; block = $0 "\n"; next }
    { match($0, /^ */); if (block != "" && RLENGTH > depth) { block = block $0 "\n" } else { flush(); print } }
    { if (block != "" && $0 ~ ("^ *name: " name "$")) drop = 1 }
    END { flush() }
  ' "$manifest" >"$work"
else
  [ -s "$kubeconfig" ] || fail "$kubeconfig is not there: start the authenticator first, its init container writes it"
  if [ -n "$asked" ]; then
    [ "$asked" = "$kubeconfig" ] ||
      fail "the API server already asks another webhook ($asked); it can ask only one"
    echo "$manifest is configured already."
    exit 0
  fi
  awk -v flag="$flag" -v name="$name" -v kubeconfig="$kubeconfig" -v folder="$folder" '
    { match($0, /^ */); pad = substr($0, 1, RLENGTH) }
    # A new item goes before the first one of its list, with the same indentation.
    pending == "mounts" && /^ *- / {
      print pad "- mountPath: " folder
      print pad "  name: " name
      print pad "  readOnly: true"
      mounts++
    }
    pending == "volumes" && /^ *- / {
      print pad "- hostPath:"
      print pad "    path: " folder
      print pad "    type: Directory"
      print pad "  name: " name
      volumes++
    }
    { pending = "" }
    { print }
    /^ *- kube-apiserver$/ {
      print pad "- " flag "=" kubeconfig
      print pad "- --authentication-token-webhook-version=v1"
      flags++
    }
    /^ *volumeMounts:$/ { pending = "mounts" }
    /^ *volumes:$/ { pending = "volumes" }
    END { exit !(flags == 1 && mounts == 1 && volumes == 1) }
  ' "$manifest" >"$work" ||
    fail "$manifest does not look as kubeadm makes it; nothing was changed. Add the flags, the mount and the volume by hand."
fi

if cmp -s "$work" "$manifest"; then
  echo "$manifest needs no change."
  exit 0
fi
backup=$backups/kube-apiserver.yaml.$(date -u +%Y%m%dT%H%M%SZ).$$
cp -p "$manifest" "$backup"
chmod 600 "$work"
mv "$work" "$manifest"
echo "Changed $manifest; the version before it is $backup."
