# shellcheck shell=sh disable=SC2154
# Reports whether the link `current` can be created.

[ ! -w "${base:-/}" ] || [ ! -x "${base:-/}" ] || echo writable=current
