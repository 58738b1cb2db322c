#!/bin/sh
# The demo service's control script on a node: ctl start | stop [SECONDS] | status
# `start` returns at once, `stop` when the process is gone.
app=/srv/app
pid=$(cat "$app/pid" 2>/dev/null)

alive() {
  [ -n "$pid" ] && [ -d "/proc/$pid" ]
}

case $1 in
  start)
    if alive; then
      echo "ctl: already running (pid $pid)" >&2
      exit 1
    fi
    if [ ! -x "$app/current/run" ]; then
      echo "ctl: $app/current/run is missing" >&2
      exit 1
    fi
    setsid "$app/current/run" </dev/null >>"$app/log" 2>&1 &
    echo $! >"$app/pid.new" && mv -f "$app/pid.new" "$app/pid"
    ;;
  stop)
    alive || exit 0
    kill -TERM "$pid" || exit 1
    # Fifty checks a second.
    looks=$((${2:-10} * 50))
    while alive; do
      looks=$((looks - 1))
      if [ "$looks" -le 0 ]; then
        echo "ctl: pid $pid is still running ${2:-10} s after SIGTERM" >&2
        exit 1
      fi
      sleep 0.02
    done
    rm -f "$app/pid"
    ;;
  status)
    if alive; then
      echo "running (pid $pid)"
    else
      echo stopped
      exit 3
    fi
    ;;
  *)
    echo "usage: ctl start | stop [SECONDS] | status" >&2
    exit 2
    ;;
esac
