# shellcheck shell=sh disable=SC2154
# Says for each process that listens whether anything shows that it runs from the folders of releases. It says nothing of a
# process that cannot be read, that has another root (a container), or that only passes connections on.

inside=$(cd -P "$releases" 2>/dev/null && pwd)
target=$(cd -P "$current" 2>/dev/null && pwd)
root=$(stat -L -c %d:%i /)
for process in $(printf '%s' "$sockets" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u); do
  at=/proc/$process
  [ "$(stat -L -c %d:%i "$at/root" 2>/dev/null)" = "$root" ] || continue
  runs_in=$(readlink "$at/cwd" 2>/dev/null) || continue
  runs=$(readlink "$at/exe" 2>/dev/null) || continue
  case ${runs##*/} in docker-proxy | rootlessport | slirp4netns | conmon | pasta* | passt* | systemd*) continue ;; esac
  # Open files and the environment count, too: a server's own code can be anywhere.
  if {
    printf '%s\n' "$runs_in/" "$runs"
    tr '\0' '\n' <"$at/cmdline"
    tr '\0' '\n' <"$at/environ"
    cat "$at/maps"
    ls -l "$at/fd"
  } 2>/dev/null | grep -qF -e "$current" -e "$releases/" -e "${inside:-$releases}/" -e "${target:-$current}"; then
    echo "within=$process"
  else
    echo "outside=$process $runs_in"
  fi
done
