# shellcheck shell=sh disable=SC2154
# Receives the artifact, and keeps it only if its checksum is right.

reach
own "$staging" 700
file=$staging/$name@$node
trap 'rm -f "$file.part"' EXIT
trap 'exit 143' HUP INT TERM
rm -rf "$file.part"
cat >"$file.part"
seen=$(sha256sum <"$file.part" | cut -d' ' -f1)
[ "$seen" = "$sum" ] || fail "sha256 is $seen" "$mismatch"
mv -f "$file.part" "$file"
