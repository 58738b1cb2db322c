# shellcheck shell=sh disable=SC2154
# Sends an HTTP request and prints the whole answer; headers come on standard input as curl settings.
#
# The machine's HTTP proxy and its users' curl settings do not apply (`--disable`).

command -v curl >/dev/null || { echo 'curl is not installed' >&2; exit "$no_curl"; }
exec curl --disable --config - --silent --show-error --include --http1.1 --globoff --noproxy '*' \
  --max-time "$seconds" --request "$method" --url "$url"
