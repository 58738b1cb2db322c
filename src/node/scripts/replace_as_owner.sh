# shellcheck shell=sh disable=SC2154
# Replaces the file as the user that its folder requires.

work "$(dirname "$file")" "$replace"
