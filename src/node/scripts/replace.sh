# shellcheck shell=sh disable=SC2154
# Replaces a file as a whole by what standard input brings: who watches the folder sees one file or the other.

set -e
umask 077
copy=$(dirname "$file")/.$(basename "$file").rollgate
fail() {
  echo "$1" >&2
  exit 1
}
sum_of() { sha256sum <"$1" | cut -d' ' -f1; }

[ ! -L "$file" ] || fail "$file is a link"
[ "$(sum_of "$file")" = "$before" ] || fail "$file has changed since it was read"
trap 'rm -f "$copy"' EXIT
trap 'exit 143' HUP INT TERM
rm -f "$copy"
# With the rights of the file from the beginning: what comes next may be secret.
cp -p "$file" "$copy"
[ "$(stat -c '%u %g %a' -- "$copy")" = "$(stat -c '%u %g %a' -- "$file")" ] ||
  fail "$(id -un) cannot give another file the owner, the group and the rights of $file"
cat >"$copy"
[ "$(sum_of "$copy")" = "$after" ] || fail "the new content of $file did not arrive as a whole"
sync "$copy" 2>/dev/null || :
mv -T "$copy" "$file"
