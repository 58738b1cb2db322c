# shellcheck shell=sh disable=SC2154
# Reports the state of the folder of releases and of the link.

if [ -n "$refused" ]; then
  echo "refused=$refused"
else
  work "$releases" "$in_releases"
  work "$(dirname "$current")" "$beside_current"
fi
if [ -L "$current" ]; then
  echo "current=$linked"
  inside=$(cd -P "$releases" 2>/dev/null && pwd)
  [ -z "$serving" ] || [ "${serving%/*}" = "$inside" ] || echo "elsewhere=$serving"
  echo "current_age=$(($(date +%s) - $(stat -c %Y "$current")))"
elif [ -e "$current" ]; then
  echo current_is_no_link=yes
fi
