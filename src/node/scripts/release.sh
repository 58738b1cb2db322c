# shellcheck shell=sh disable=SC2034,SC2154
# Shared by the work in the folder of releases: the paths, and when a release is complete.
#
# releases/NAME               a release
# releases/.staging           private: uploads, trees that are being unpacked, and in `trash` what will be deleted
# releases/.rollgate/NAME     the mark of a complete release, created by rollgate
# releases/.rollgate/healthy  one file for each release, touched when a node was healthy with it
# releases/.rollgate/nodes    one file for each node: the release that it runs, the last healthy one, and the one
# before that

set -e
umask 022
staging=$releases/.staging ledger=$releases/.rollgate folder=$releases/$name trash=$releases/.staging/trash
line='
'

fail() {
  echo "$1" >&2
  exit "${2:-1}"
}

# Creates the missing parts of the path to the folder of releases. In a sticky folder another process may be faster.
reach() {
  at=$base
  while [ -n "$missing" ]; do
    part=${missing%%/*} missing=${missing#*/}
    [ -n "$part" ] || continue
    at=$at/$part
    mkdir "$at" 2>/dev/null || is_own "$at" || fail "$at cannot be created: $(mkdir "$at" 2>&1)"
  done
}

is_own() {
  [ ! -L "$1" ] && [ -d "$1" ] && [ "$(stat -c %u -- "$1")" = "$(id -u)" ]
}

# Creates the folder $1 with the mode $2; an existing one must belong to the same user and not be a symlink.
own() {
  [ ! -L "$1" ] || fail "$1 is a symlink: remove it"
  mkdir "$1" 2>/dev/null || [ -d "$1" ] || fail "$1 cannot be created: $(mkdir "$1" 2>&1)"
  is_own "$1" || fail "$1 belongs to $(stat -c %U -- "$1"), not to $(id -un): give it to $(id -un), or remove it"
  chmod "$2" "$1"
}

is_complete() {
  [ ! -L "$folder" ] && [ -d "$folder" ] && [ ! -L "$ledger/$name" ] && [ -f "$ledger/$name" ] &&
    [ "$(cat "$ledger/$name")" = "sha256=$sum" ]
}

# Lets one process at a time change the folder: several nodes may share a host and its folders. Waits $1 seconds, less
# than the time limit of the operation. The lock is on a private folder, because any user that can open a folder can
# lock it.
alone() {
  command -v flock >/dev/null || return 0
  own "$staging" 700
  exec 9<"$staging"
  flock -w "$1" 9 || fail "$releases: another operation does not end"
}

# Writes standard input to the file $1; others see the old or the new content, nothing in between.
put() {
  [ ! -L "$1" ] || fail "$1 is a symlink: remove it"
  cat >"$1.$$.new"
  mv -f "$1.$$.new" "$1"
}

# Deletes $1, except file systems that are mounted in it.
remove() {
  if rm -f --one-file-system "$trash/.none" 2>/dev/null; then
    rm -rf --one-file-system "$1"
  else
    find "$1" -xdev ! -type d -exec rm -f {} +
    find "$1" -xdev -depth -type d -exec rmdir {} +
  fi
}

# Deletes the content of the trash, and reports what cannot be deleted.
empty() {
  for gone in "$trash"/*; do
    [ -e "$gone" ] || [ -L "$gone" ] || continue
    remove "$gone" 2>/dev/null && continue
    find "$gone" -xdev -type d ! -perm -700 -exec chmod u+rwx {} + 2>/dev/null || :
    said=$(remove "$gone" 2>&1) || :
    [ ! -e "$gone" ] || echo "left=$gone: ${said%%"$line"*}"
  done
  rmdir "$trash" 2>/dev/null || :
}

# Sets the variables from the note $1 of a node.
recall() {
  running='' healthy='' before=''
  [ ! -L "$1" ] && [ -f "$1" ] || return 0
  while IFS='=' read -r key value; do
    case $key in running) running=$value ;; healthy) healthy=$value ;; before) before=$value ;; esac
  done <"$1"
}

# Notes that this node runs the release, and with $1 `healthy` that it is healthy.
note() {
  own "$ledger" 755
  own "$ledger/nodes" 755
  own "$ledger/healthy" 755
  recall "$ledger/nodes/$node"
  # The release that ran when rollgate first worked on the node.
  [ -n "$healthy$before" ] || [ -z "$linked" ] || [ "${linked##*/}" = "$name" ] || before=${linked##*/}
  running=$name
  if [ "$1" = healthy ]; then
    [ -z "$healthy" ] || [ "$healthy" = "$name" ] || before=$healthy
    healthy=$name
    : | put "$ledger/healthy/$name"
  fi
  printf 'running=%s\nhealthy=%s\nbefore=%s\n' "$running" "$healthy" "$before" | put "$ledger/nodes/$node"
}
