# shellcheck shell=sh disable=SC2154
# Lists the sockets that listen on `port`, and the established connections to it. Prints `own-address` if `host` is an
# address of this machine.

command -v ss >/dev/null || { echo 'ss (iproute2) is not installed' >&2; exit "$without_ss"; }
PATH=$PATH:/usr/sbin:/sbin
case $(ip route get "$host" 2>/dev/null) in local\ *) echo own-address ;; esac
ss -Hltn "sport = :$port" | while read -r socket; do echo "listen=$socket"; done
ss -Htni state established "sport = :$port"
