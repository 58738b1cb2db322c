# shellcheck shell=sh disable=SC2154
# Names the programs that a command would not find. A symlink counts as found: its target may come with the artifact.

is_found() {
  command -v "$1" >/dev/null 2>&1 && return
  case $1 in */*) [ -L "$1" ]; return ;; esac
  (IFS=:; for folder in $PATH; do [ ! -L "$folder/$1" ] || exit 0; done; exit 1)
}
for program in $programs; do
  is_found "$program" || echo "missing=$program"
done
