# shellcheck shell=sh disable=SC2154
# Prints `file`, then how many workers of the nginx of `pid_file` are shutting down, then how many are older than the
# file.
#
# A worker that is shutting down says so in its command line. A process without a working worker is not nginx's
# master, or its workers are not visible. A worker that is older than the file has not read it. Both ages are whole
# seconds, so the worker must be older by more than one second. The workers are counted after the file was read: a
# worker may be told to shut down in between.

set -e
master=$(cat "$pid_file")
[ -d "/proc/$master" ] || { echo "no nginx with the process id $master" >&2; exit 1; }
cat "$file"
leaving=0 older=0 working=0
age=$(($(date +%s) - $(stat -L -c %Y "$file")))
uptime=$(cut -d. -f1 /proc/uptime)
ticks=$(getconf CLK_TCK || echo 100)
for process in /proc/[0-9]*; do
  title=
  IFS= read -r title 2>/dev/null <"$process/cmdline" || :
  case $title in 'nginx: worker process'*) ;; *) continue ;; esac
  grep -q "^PPid:[[:space:]]*$master\$" "$process/status" 2>/dev/null || continue
  case $title in *'is shutting down'*)
    leaving=$((leaving + 1))
    continue
    ;;
  esac
  working=$((working + 1))
  start=$(sed 's/.*) //' "$process/stat" 2>/dev/null | cut -d' ' -f20)
  [ -z "$start" ] || [ $((uptime - start / ticks)) -le $((age + 1)) ] || older=$((older + 1))
done
[ "$working" -gt 0 ] || {
  echo "no worker of nginx's is at work below the process $master of $pid_file" >&2
  exit 1
}
printf '\nleaving=%s older=%s\n' "$leaving" "$older"
