# shellcheck shell=sh disable=SC2154
# Lists the sockets that listen on `port`, and the established connections to it.

command -v ss >/dev/null || { echo 'ss (iproute2) is not installed' >&2; exit "$without_ss"; }
ss -Hltn "sport = :$port" | while read -r socket; do echo "listen=$socket"; done
ss -Htni state established "sport = :$port"
