# shellcheck shell=sh disable=SC2154,SC2034
# Runs `script` in a session of its own, with a guard beside it. The shell has parsed all of this before it runs any of it.
#
# mark    begins every line that is for rollgate; no output contains it by chance
# limit   seconds until the command is ended
# input   `data`: the command reads standard input; `line`: standard input is the life line, its end ends the command

for tool in setsid timeout; do
  command -v "$tool" >/dev/null || { printf '%s missing %s\n' "$mark" "$tool" >&2; exit 126; }
done
# What stands before these lines was printed by the login shell.
printf '%s ready\n' "$mark"
printf '%s ready\n' "$mark" >&2
# A connection that breaks before this line has come has changed nothing.
IFS= read -r go || exit 125
exec 3<&0 </dev/null
printf '%s started\n' "$mark" >&2
if [ "$input" = data ]; then
  setsid "$shell" -c "$script" <&3 3<&- &
else
  setsid "$shell" -c "$script" 3<&- &
fi
command=$!

# Ends what is left of the session: `signal TERM`, `signal KILL`; `signal 0` tells whether something is left. `/proc` also finds
# what left the process group (`timeout` does); where it is missing, the group is all there is.
signal() {
  kill "-$1" "-$command"
  found=$?
  [ -r /proc/self/stat ] || return $found
  found=1
  for stat in /proc/[0-9]*/stat; do
    read -r line <"$stat" || continue
    pid=${line%% *}
    # shellcheck disable=SC2086
    set -- "$1" ${line##*) }
    [ "$5" = "$command" ] && [ "$2" != Z ] && kill "-$1" "$pid" && found=0
  done
  return $found
}

finish() {
  signal TERM
  sleep 5 & patience=$!
  while kill -0 "$patience" && signal 0; do sleep 0.1; done
  kill -KILL "$patience"
  signal KILL
}

(
  nap=
  trap '[ -z "$nap" ] || kill "$nap"; exit 143' TERM
  if [ "$input" = data ]; then
    exec 3<&-
    sleep "$limit" & nap=$!
    wait "$nap"
    verdict=124
  else
    timeout "$limit" cat <&3 & nap=$!
    wait "$nap"
    verdict=$?
  fi
  trap '' TERM
  finish
  exit "$verdict"
) >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait "$command" 2>/dev/null
status=$?
kill "$guard" 2>/dev/null
wait "$guard" 2>/dev/null
verdict=$?
printf '%s end\n' "$mark"
printf '%s ended %s %s\n' "$mark" "$status" "$verdict" >&2
exit "$status"
