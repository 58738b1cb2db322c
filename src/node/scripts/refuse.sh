# shellcheck shell=sh disable=SC2154
# Exits if rollgate must not work in the folders.

[ -z "$refused" ] || { echo "$refused" >&2; exit 77; }
