# shellcheck shell=sh disable=SC2154
# Unpacks the uploaded artifact, names the tree when it is complete, and then sets the mark of a complete release.

own "$staging" 700
own "$ledger" 755
file=$staging/$name@$node tree=$staging/$name@$node.tree
[ ! -L "$ledger/$name" ] || fail "$ledger/$name is a symlink: remove it"
if is_complete; then
  rm -rf "$file" "$tree"
  exit 0
fi
seen=$(sha256sum <"$file" | cut -d' ' -f1)
[ "$seen" = "$sum" ] || fail "sha256 is $seen" "$mismatch"
rm -rf "$tree"
trap 'rm -rf "$tree"' EXIT
trap 'exit 143' HUP INT TERM
mkdir "$tree"

# Unpacks with the rights of an ordinary user: root would keep set-user-id bits and foreign owners. Without `-P` no
# name is absolute. The content was checked before it was sent and is checked again.
from() {
  tar "$2" "$1" -C "$tree" --no-same-owner --no-same-permissions
}

place() {
  case $form in
    file) cp "$file" "$tree/$single" && chmod a+rx "$tree/$single"; return ;;
    # It keeps modes that others may write to.
    zip) unzip -qq -o "$file" -d "$tree" </dev/null && find "$tree" ! -type l -exec chmod go-w {} + ;;
    tar) from "$file" -xf ;;
    tar.gz) from "$file" -xzf ;;
    tar.xz) from "$file" -xJf ;;
    tar.bz2) from "$file" -xjf ;;
    # Few tars know zstd. What it cuts off, tar misses.
    tar.zst) zstd -dcq <"$file" | from - -xf ;;
    *) false ;;
  esac &&
    find "$tree" -type f \( -perm -4000 -o -perm -2000 \) -exec chmod u-s,g-s {} + &&
    ! find "$tree" ! -type f ! -type d ! -type l -print | head -n 1 | grep . >&2
}
place || {
  error=$?
  room=$(df -Pk "$tree" | { read -r _; read -r _ _ _ room _; echo "$room"; })
  [ "$room" -ge 64 ] || echo "No space left at $tree" >&2
  exit $error
}
touch "$tree"
sync -f "$tree" 2>/dev/null || sync

alone 60
if is_complete; then
  rm -f "$file"
  exit 0
fi
if [ -L "$folder" ] || [ -e "$folder" ]; then
  # The folder has this release's name but no mark: it may be incomplete.
  [ "$(cd -P "$folder" 2>/dev/null && pwd)" != "$serving" ] ||
    fail "$current points at $folder, which may be incomplete (nothing says that its upload finished): release another version first"
  for other in "$ledger"/nodes/*; do
    recall "$other"
    [ "$running" != "$name" ] ||
      fail "${other##*/} runs $folder, which may be incomplete (nothing says that its upload finished): release another version first"
  done
  own "$trash" 700
  mv -T "$folder" "$trash/$name.$$"
fi
rm -f "$ledger/$name"
mv -T "$tree" "$folder"
sync -f "$releases" 2>/dev/null || sync
printf 'sha256=%s\n' "$sum" | put "$ledger/$name"
sync "$ledger" 2>/dev/null || :
rm -f "$file"
empty >/dev/null
