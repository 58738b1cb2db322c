# shellcheck shell=sh disable=SC2154
# Finds out what runs, with the rights of the login, and decides as which users the folders are worked in.

linked=$(readlink "$current")
linked=${linked%/}
serving=$(cd -P "$current" 2>/dev/null && pwd)
export linked serving
decide
