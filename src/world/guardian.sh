# shellcheck shell=sh
# Outlives rollgate: when standard input ends, it ends every ssh process of the folder $1 and removes the folder.

trap '' HUP INT QUIT TERM
cd / || exit
cat >/dev/null
count=0
for file in "$1"/*.pid; do
  [ -e "$file" ] && read -r group <"$file" && kill -KILL -"$group"
done
for socket in "$1"/*.socket; do
  [ -S "$socket" ] || continue
  ssh -F /dev/null -S "$socket" -O exit x &
  count=$((count + 1))
  [ $((count % 50)) -eq 0 ] && wait
done
wait
rm -rf "$1"
