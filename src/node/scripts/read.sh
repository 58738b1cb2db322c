# shellcheck shell=sh disable=SC2154
# Prints a file. A file that is mounted alone, here or in a container, is refused: a file that replaces it does not
# arrive at the other place. Only root sees the containers of other users.

# As the kernel lists it.
escaped=$(printf %s "$(basename "$file")" | sed 's/ /\\040/g')
identity=$(stat -c %d:%i -- "$file" 2>/dev/null)
places=$(grep -s -H -F "/$escaped " /proc/self/mountinfo /proc/[0-9]*/mountinfo | while IFS= read -r line; do
  process=${line#/proc/} && process=${process%%/*}
  # shellcheck disable=SC2086
  set -f && set -- ${line#*:} && set +f
  [ "$(stat -L -c %d:%i -- "/proc/$process/root$5" 2>/dev/null)" = "$identity" ] || continue
  echo "$5"
  break
done)
if [ -n "$places" ]; then
  echo "$file is mounted alone, at $places: a new file in its place would not arrive there; mount its folder instead" >&2
  exit 1
fi
cat "$file"
