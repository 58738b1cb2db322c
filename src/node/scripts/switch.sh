# shellcheck shell=sh disable=SC2154
# Points the link `current` at the release, atomically.

reach
[ -d "$folder" ] || fail "$folder does not exist"
[ -L "$current" ] || [ ! -e "$current" ] || fail "$current is not a symlink"
rm -f "$current.rollgate"
ln -s "$folder" "$current.rollgate"
mv -T "$current.rollgate" "$current"
sync "$(dirname "$current")" 2>/dev/null || :
