# shellcheck shell=sh disable=SC2154
# Selects the user that works in a folder.
#
# root works in a folder only where no other user can change the path to it. Where a part of the path belongs to
# another user, the work is done as that user, so symlinks and exchanged folders give that user no additional rights.
# Everything else is refused.

me=$(id -u)
refused='' became=''
line='
'

refuse() {
  refused=$1
  return 1
}

# Sets `name` and `gid` of the user with the id $1, and prints a name for it.
user() {
  entry=$(getent passwd "$1" 2>/dev/null || grep "^[^:]*:[^:]*:$1:" /etc/passwd)
  entry=${entry%%"$line"*}
  name=${entry%%:*} gid=${entry#*:*:*:}
  gid=${gid%%:*}
  echo "${name:-user $1}"
}

# Checks the part $1 of a path: $2 is `link`, `folder`, or `end` for the last folder, $3 its owner, $4 its mode.
weigh_part() {
  if [ "$3" != 0 ]; then
    [ -n "$owner" ] || { owner=$3 whose=$1; }
    [ "$owner" = "$3" ] ||
      refuse "$whose belongs to $(user "$owner") and $1 to $(user "$3"): give both to the service's user"
    return
  fi
  [ "$2" != link ] || return 0
  # In a sticky folder each part belongs to its owner alone; new files there are checked when they are created.
  if [ "$2" = folder ] && [ $((0$4 & 01000)) -ne 0 ]; then
    return 0
  fi
  if [ $((0$4 & 0002)) -ne 0 ]; then
    refuse "$1 belongs to root and every user can write to it: run \`chmod o-w $1\`, or give it to the service's user"
  elif [ $((0$4 & 0020)) -ne 0 ]; then
    # With an ACL these are the permissions of its mask: the ACL may contain any user, whatever the group is.
    refuse "$1 belongs to root, and its group $(stat -c %G -- "$1") or a user in its ACL can write to it: run \`chmod g-w $1\`, or give it to the service's user"
  fi
}

# Checks the parts of a path; `kinds` lists the kind of each.
weigh() {
  [ "$me" = 0 ] || return 0
  rights=$(stat -c '%u %a' -- "$@" 2>&1) || { refuse "$rights"; return; }
  for kind in $kinds; do
    mode=${rights%%"$line"*} rights=${rights#*"$line"}
    weigh_part "$1" "$kind" "${mode% *}" "${mode#* }" || return
    shift
  done
}

# Walks to the folder $1, part by part. Sets `owner`, the non-root user with folders on the way, if any; `whose`, the
# first of these folders; `base`, the last folder that exists; and `missing`, the rest of the path with a final slash.
walk() {
  owner='' whose='' base='' missing='' links=0 path=$1 rest=${1%/} kinds=folder
  set -- /
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
    case $part in
      '' | .) continue ;;
      ..) base=${base%/*} && continue ;;
    esac
    if [ -L "$base/$part" ]; then
      set -- "$@" "$base/$part"
      kinds="$kinds link" links=$((links + 1))
      [ $links -le 40 ] || { refuse "$path leads through too many symlinks"; return; }
      target=$(readlink "$base/$part")
      case $target in /*) base='' ;; esac
      rest=$target/$rest
    elif [ -d "$base/$part" ]; then
      base=$base/$part
      set -- "$@" "$base"
      kinds="$kinds folder"
    elif [ -e "$base/$part" ]; then
      refuse "$base/$part is not a folder"
      return
    else
      missing=$part/$rest/
      case /$missing in
        */../*)
          refuse "$path leads through $base/$part, which does not exist, and back: write it without \`..\`"
          return
          ;;
      esac
      break
    fi
  done
  # This applies to every end of the path, `.` and `..` included: files are created here.
  [ -n "$missing" ] || { kinds="$kinds end" && set -- "$@" "${base:-/}"; }
  weigh "$@"
}

# Finds a program that runs commands as the user with the id $1, which owns folders like $2.
become() {
  [ "$became" != "$1 $2" ] || return 0
  user "$1" >/dev/null
  gid=${gid:-$(stat -c %g -- "$2")} groups=--init-groups
  [ -n "$name" ] || groups=--clear-groups
  if setpriv --reuid="$1" --regid="$gid" "$groups" true 2>/dev/null; then
    program=setpriv
  elif [ -n "$name" ] && command -v runuser >/dev/null; then
    program=runuser
  elif [ -n "$name" ] && command -v su >/dev/null; then
    program=su
  else
    refuse "$2 belongs to $(user "$1"), and none of setpriv, runuser and su can run commands as that user: install util-linux"
    return
  fi
  became="$1 $2"
}

# Decides for the folders of `releases` and `current`; sets `refused` and fails where rollgate must not work.
decide() {
  walk "$releases" || return
  staged_by=$owner owned=$whose
  [ -z "$staged_by" ] || become "$staged_by" "$owned" || return
  walk "$(dirname "$current")" || return
  switched_by=$owner
  [ -z "$switched_by" ] || become "$switched_by" "$whose" || return
  [ -z "$staged_by" ] || [ -z "$switched_by" ] || [ "$staged_by" = "$switched_by" ] ||
    refuse "$owned belongs to $(user "$staged_by") and $whose to $(user "$switched_by"): give both to the service's user"
}

# Runs the script $2 for the folder $1, as the user that the folder requires.
work() {
  walk "$1" || { echo "$refused" >&2; return 77; }
  export base missing
  if [ -z "$owner" ]; then
    /bin/sh -c "$2"
    return
  fi
  become "$owner" "$whose" || { echo "$refused" >&2; return 77; }
  cd /
  case $program in
    setpriv) setpriv --reuid="$owner" --regid="$gid" "$groups" /bin/sh -c "$2" ;;
    runuser) runuser -u "$name" -- /bin/sh -c "$2" ;;
    su) su -s /bin/sh "$name" -c "$2" ;;
  esac
}
