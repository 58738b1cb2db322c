# shellcheck shell=sh disable=SC2154
# Ends here where the folders must not be worked in.

[ -z "$refused" ] || { echo "$refused" >&2; exit 77; }
