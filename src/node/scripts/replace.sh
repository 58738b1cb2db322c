# shellcheck shell=sh disable=SC2154
# Replaces a file as a whole with standard input: a process that watches the folder sees the old or the new file.

set -e
umask 077
copy=$(dirname "$file")/.$(basename "$file").rollgate
fail() {
  echo "$1" >&2
  exit 1
}
sum_of() { sha256sum <"$1" | cut -d' ' -f1; }

[ ! -L "$file" ] || fail "$file is a symlink"
[ "$(sum_of "$file")" = "$before" ] || fail "$file has changed since it was read"
trap 'rm -f "$copy"' EXIT
trap 'exit 143' HUP INT TERM
rm -f "$copy"
# Has the permissions of the file from the start: the new content may be secret.
cp -p "$file" "$copy"
[ "$(stat -c '%u %g %a' -- "$copy")" = "$(stat -c '%u %g %a' -- "$file")" ] ||
  fail "$(id -un) cannot give another file the owner, the group and the rights of $file"
cat >"$copy"
[ "$(sum_of "$copy")" = "$after" ] || fail "the new content of $file arrived incomplete"
sync "$copy" 2>/dev/null || :
mv -T "$copy" "$file"
