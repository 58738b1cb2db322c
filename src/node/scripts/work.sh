# shellcheck shell=sh disable=SC2154
# Runs the work in the folder of releases.

work "$releases" "$in_releases"
