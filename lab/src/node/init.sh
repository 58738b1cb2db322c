#!/bin/sh
# First process of a node. It sets up the node's own view of the file system, starts the service and sshd,
# and stays to reap orphaned processes.
# Arguments: node directory, directory of the lab binary, host name, size of /srv in MiB (0: no limit),
# path of sshd, control group (empty: the node has no systemd).
set -e
node=$1
bin=$2
name=$3
disk=$4
sshd=$5
cgroup=$6

hostname "$name"
# Before /run and /tmp are covered: the node's directory may be below either of them.
for file in passwd shadow group hosts sudoers; do
  mount -n --bind "$node/etc/$file" "/etc/$file"
done
if [ "$disk" -gt 0 ]; then
  mount -n -t tmpfs -o "mode=755,size=${disk}m" node-disk /srv
  cp -a "$node/srv/." /srv/
else
  mount -n --bind "$node/srv" /srv
fi
mount -n -t tmpfs -o mode=755 node-tools /media
mkdir /media/node /media/lab /media/sshd
mount -n --bind "$node" /media/node
mount -n --bind "$bin" /media/lab
mount -n --move /media /run
mount -n -t tmpfs -o mode=1777 node-tmp /tmp
cd /
set +e
# Process ids of an earlier boot are not valid now.
rm -f /srv/app/pid
if [ -e /srv/app/current ] && [ -z "$cgroup" ]; then
  setpriv --reuid=deploy --regid=deploy --init-groups --reset-env /srv/app/ctl start
fi
"$sshd" -D -e -f /run/node/sshd_config &
if [ -n "$cgroup" ]; then
  # systemd takes this process's place. It works in a control group of its own, and starts only what is in /run/node/units.
  set -e
  mount -n -t cgroup2 none /sys/fs/cgroup
  mkdir -p "/sys/fs/cgroup/$cgroup"
  echo 0 >"/sys/fs/cgroup/$cgroup/cgroup.procs"
  exec env -i container=lab SYSTEMD_UNIT_PATH=/run/node/units \
    /lib/systemd/systemd --system --log-target=console --show-status=no
fi
# While it waits for this child, the shell also reaps the orphans of the namespace.
exec 2>/dev/null
while :; do
  sleep 86400
done
