# shellcheck shell=sh disable=SC2154
# Notes the release that the node is about to run, and points the link at it. A failing note does not prevent the
# activation.

work "$releases" "$in_releases" >/dev/null 2>&1 || :
work "$(dirname "$current")" "$beside_current"
