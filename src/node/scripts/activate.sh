# shellcheck shell=sh disable=SC2154
# Notes what the node is about to run, and points the link at it. A note that is not possible prevents no activation.

work "$releases" "$in_releases" >/dev/null 2>&1 || :
work "$(dirname "$current")" "$beside_current"
