# shellcheck shell=sh disable=SC2154,SC2034
# Runs `script` in its own session, with a guard beside it. The shell has parsed all of this before it runs any of it.
#
# mark    begins every line that is for rollgate; no output contains it by chance
# label   is in the environment of the command and of the processes that it starts
# limit   seconds until the command is ended
# input   `data`: the command reads standard input; `line`: standard input is the life line, its end ends the command

for tool in setsid timeout; do
  command -v "$tool" >/dev/null || { printf '%s missing %s\n' "$mark" "$tool" >&2; exit 126; }
done
# The login shell printed everything before these lines.
printf '%s ready\n' "$mark"
printf '%s ready\n' "$mark" >&2
# A connection that breaks before this line arrives has changed nothing.
IFS= read -r go || exit 125
exec 3<&0 4>&2 </dev/null
printf '%s started\n' "$mark" >&2
if [ "$input" = data ]; then
  ROLLGATE_COMMAND=$label setsid "$shell" -c "$script" <&3 3<&- 4>&- &
else
  ROLLGATE_COMMAND=$label setsid "$shell" -c "$script" 3<&- 4>&- &
fi
command=$!

newline='
'
known=' ' # pid:start of each process of the command's, also of those that have left its session and lost their parent
pids=' '

# Prints the processes whose readable environment has the label. A grep that stops at a NUL cannot be used.
labelled() {
  if printf 'a\0b' | grep -qF b; then
    timeout 3 grep -lsF -e "ROLLGATE_COMMAND=$label" /proc/[0-9]*/environ | tr -cd '0-9\n' | tr '\n' ' '
    return
  fi
  for environ in /proc/[0-9]*/environ; do
    while IFS= read -r text || [ -n "$text" ]; do
      case $text in *"ROLLGATE_COMMAND=$label"*) pid=${environ#/proc/}; printf '%s ' "${pid%/*}" ;; esac
      text=
    done <"$environ"
  done
}

# Finds the living processes of the command: its session, the children of its processes, and every process with the
# label.
look() {
  alive=
  [ -r /proc/self/stat ] || { ! kill -0 "-$command" || alive=$command; return; }
  with_label=" $(labelled) "
  stats=$(cat /proc/[0-9]*/stat)
  set -f
  more=yes
  while [ -n "$more" ]; do
    more='' alive=''
    IFS=$newline
    for line in $stats; do
      IFS=' '
      pid=${line%% *}
      # After the name, which may contain anything, come state, parent, group, session and, as the 20th field, the
      # start time.
      # shellcheck disable=SC2086
      set -- ${line##*) }
      [ "$1" != Z ] || continue
      case $known in
        *" $pid:${20} "*) alive="$alive $pid" ;;
        *)
          mine=
          [ "$4" != "$command" ] || mine=yes
          case $pids in *" $2 "*) mine=yes ;; esac
          case $with_label in *" $pid "*) mine=yes ;; esac
          if [ -n "$mine" ]; then
            known="$known$pid:${20} " pids="$pids$pid " alive="$alive $pid" more=yes
          fi
          ;;
      esac
    done
    unset IFS
  done
  set +f
}

signal() {
  kill "-$1" "-$command"
  for pid in $alive; do kill "-$1" "$pid"; done
}

finish() {
  look
  signal TERM
  sleep 5 4>&- & patience=$!
  look
  while [ -n "$alive" ] && kill -0 "$patience"; do sleep 0.1; look; done
  kill -KILL "$patience"
  sleep 1 4>&- & patience=$! late=
  while [ -n "$alive" ]; do
    signal KILL
    sleep 0.05
    look
    # On a busy machine one inspection can use up the whole second, so one more is made.
    kill -0 "$patience" || { [ -z "$late" ] || break; late=yes; }
  done
  kill -KILL "$patience"
  # shellcheck disable=SC2086
  set -- $alive
  [ $# -eq 0 ] || printf '%s left %s\n' "$mark" $# >&4
}

(
  nap=
  trap '[ -z "$nap" ] || kill "$nap"; exit 143' TERM
  if [ "$input" = data ]; then
    exec 3<&-
    sleep "$limit" 4>&- & nap=$!
    wait "$nap"
    verdict=124
  else
    timeout "$limit" cat <&3 4>&- & nap=$!
    wait "$nap"
    verdict=$?
  fi
  trap '' TERM
  finish
  exit "$verdict"
) >/dev/null 2>&1 &
guard=$!
exec 3<&- 4>&-
wait "$command" 2>/dev/null
status=$?
kill "$guard" 2>/dev/null
wait "$guard" 2>/dev/null
verdict=$?
printf '%s end\n' "$mark"
printf '%s ended %s %s\n' "$mark" "$status" "$verdict" >&2
exit "$status"
