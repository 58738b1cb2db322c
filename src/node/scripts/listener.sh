# shellcheck shell=sh disable=SC2154
# Reports the processes that listen on `port`, and their start times.
#
# The mark is the start time of this shell, from the same clock that gives the start of every other process;
# `/proc/uptime` may differ in a container.

command -v ss >/dev/null || {
  [ "$without_ss" = 0 ] || echo 'ss (iproute2) is not installed' >&2
  exit "$without_ss"
}

start_of() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

echo "mark=$(start_of $$)"
sockets=$(ss -Hltnp "sport = :$port")
printf '%s\n' "$sockets" | while read -r socket; do
  [ -z "$socket" ] || echo "listen=$socket"
done
for process in $(printf '%s' "$sockets" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do
  start=$(start_of "$process")
  [ -z "$start" ] ||
    echo "process=$process $start $(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null | head -c 200)"
done
