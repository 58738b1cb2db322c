# shellcheck shell=sh disable=SC2154
# Tells whether the link `current` can be made.

[ ! -w "${base:-/}" ] || [ ! -x "${base:-/}" ] || echo writable=current
