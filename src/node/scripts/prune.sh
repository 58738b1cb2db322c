# shellcheck shell=sh disable=SC2154
# Notes that this node is healthy with the release, and deletes old ones until `keep` are left.
#
# Deletes only releases that rollgate has created and no node needs. It keeps every release that a node known on this
# host runs or ran before, that was last healthy on such a node, or that is in `spare`. Releases that were never
# healthy are deleted first, then the ones whose last health is longest ago.

alone 20
note healthy
if [ -z "$keep" ] || [ -z "$linked" ]; then
  exit 0
fi
needed=$line$name$line$spare$line${linked##*/}$line${serving##*/}$line
for other in "$ledger"/nodes/*; do
  recall "$other"
  needed=$needed$running$line$healthy$line$before$line
done

discard() {
  own "$trash" 700
  mark=$(cat "$ledger/$1")
  rm -f "$ledger/$1"
  if ! said=$(mv -T "$releases/$1" "$trash/$1.$$" 2>&1); then
    echo "$mark" | put "$ledger/$1"
    echo "left=$releases/$1: ${said%%"$line"*}"
    return
  fi
  rm -f "$ledger/healthy/$1"
  echo "deleted=$1"
}

number=0 candidates=''
for mark in "$ledger"/*; do
  release=${mark##*/}
  if [ ! -f "$mark" ] || [ -L "$mark" ]; then continue; fi
  case $release in *.new) rm -f "$mark"; continue ;; esac
  if [ -L "$releases/$release" ] || [ ! -d "$releases/$release" ]; then
    rm -f "$mark" "$ledger/healthy/$release"
    continue
  fi
  number=$((number + 1))
  case $needed in *"$line$release$line"*) continue ;; esac
  if [ -f "$ledger/healthy/$release" ]; then
    candidates="$candidates$line$(stat -c '1 %Y' -- "$ledger/healthy/$release") $release"
  else
    candidates="$candidates$line$(stat -c '0 %Y' -- "$mark") $release"
  fi
done
printf '%s\n' "$candidates" | sort -k1,1n -k2,2n | while read -r _ _ release; do
  if [ -n "$release" ] && [ "$number" -gt "$keep" ]; then
    discard "$release"
    number=$((number - 1))
  fi
done
empty
find "$staging" -mindepth 1 -maxdepth 1 ! -name trash -mmin +1440 -exec rm -rf {} + 2>/dev/null || :
