# shellcheck shell=sh
# Starts ssh in a process group that the guardian knows before ssh exists. $1 is the path of its files.

exec 2>>"$1.log"
echo $$ >"$1.pid"
shift
exec ssh "$@"
