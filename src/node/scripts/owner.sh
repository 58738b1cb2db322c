# shellcheck shell=sh disable=SC2154
# Does work in a folder.

refused=''

# Goes to the folder $1, part by part. Sets `base`, the last folder that exists, and `missing`, the rest of the path with a slash
# at its end.
walk() {
  base='' missing='' rest=${1%/}
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
    [ -n "$part" ] || continue
    if [ -d "$base/$part" ]; then
      base=$base/$part
    elif [ -e "$base/$part" ]; then
      refused="$base/$part is not a folder"
      return 1
    else
      missing=$part/$rest/
      return 0
    fi
  done
}

decide() {
  walk "$releases" && walk "$(dirname "$current")"
}

# Runs the script $2 for the folder $1.
work() {
  walk "$1" || { echo "$refused" >&2; return 77; }
  export base missing
  /bin/sh -c "$2"
}
