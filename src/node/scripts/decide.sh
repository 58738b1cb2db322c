# shellcheck shell=sh disable=SC2154
# Finds the running release with the rights of the login user, and selects the users that work in the folders.

linked=$(readlink "$current")
linked=${linked%/}
serving=$(cd -P "$current" 2>/dev/null && pwd)
export linked serving
decide
