# shellcheck shell=sh disable=SC2154
# Reports the state of the folder of releases; changes nothing.

[ ! -w "${base:-/}" ] || [ ! -x "${base:-/}" ] || echo writable=releases
df -Pk "${base:-/}" 2>/dev/null | { read -r _; read -r _ _ _ room _; echo "free_kib=$room"; }
for own in "$staging" "$ledger" "$ledger/nodes" "$ledger/healthy"; do
  if [ -L "$own" ]; then
    echo "refused=$own is a symlink: remove it"
  elif [ -e "$own" ] && ! is_own "$own"; then
    echo "refused=$own belongs to $(stat -c %U -- "$own"), not to $(id -un): give it to $(id -un), or remove it"
  fi
done
# The releases on this node. A name that is not plain could be read as further lines.
number=0
for other in "$releases"/*/; do
  other=${other%/}
  release=${other##*/}
  case $release in *[!A-Za-z0-9._@+-]*) continue ;; esac
  if [ -L "$other" ] || [ ! -d "$other" ]; then continue; fi
  number=$((number + 1))
  [ "$number" -le 200 ] || break
  if [ -f "$ledger/$release" ] && [ ! -L "$ledger/$release" ]; then
    echo "complete=$release"
  else
    echo "folder=$release"
  fi
done
[ -d "$folder" ] || exit 0
if [ -z "$sum" ] || is_complete; then
  echo staged=yes
  exit 0
fi
[ "$(cd -P "$folder" 2>/dev/null && pwd)" != "$serving" ] || echo "incomplete=$current"
for other in "$ledger"/nodes/*; do
  recall "$other"
  [ "$running" != "$name" ] || echo "incomplete=${other##*/}"
done
