# shellcheck shell=sh disable=SC2154
# Sends the line `say` to the Unix socket `path` and prints the answer, with the first suitable tool of the machine.

if command -v perl >/dev/null; then exec perl -e "$perl" "$path" "$say"; fi
if command -v python3 >/dev/null; then exec python3 -c "$python" "$path" "$say"; fi
[ -e "$path" ] || { echo "$path: there is no such socket" >&2; exit 1; }
if command -v socat >/dev/null; then
  printf '%s\n' "$say" | socat -t 60 - "$socat_address"
  exit
fi
if command -v nc >/dev/null && nc -h 2>&1 | grep -q -e -U; then
  printf '%s\n' "$say" | nc -U "$path"
  exit
fi
echo 'none of perl, python3, socat and an nc with -U is installed: one is needed to talk to a socket' >&2
exit "$no_tool"
