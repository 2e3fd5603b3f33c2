#!/bin/bash
# Boots systemd as the first process of its namespaces, on an overlay of this machine's files in memory, so that it changes
# nothing on the machine. Run it by `unshare --fork --pid --mount --ipc --uts --net --cgroup`.
#
# $1 is a directory shared with the caller. Its `prepare.sh` runs before the boot, with the new root as $root, and its
# `scenario.sh` runs as a service.
set -eu
shared=$1
work=$shared/work
mkdir "$work"
mount --make-rprivate /
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/shared"
mount --bind "$shared" "$root/run/shared"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
  mkdir "$root/sys/fs/cgroup/systemd"
  mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
ip link set lo up

# No unit of this machine starts by itself.
units=$root/etc/systemd/system
rm -rf "$root"/lib/systemd/system/*.wants "$units"
mkdir -p "$units"
printf '[Unit]\nWants=scenario.service\n' >"$units/default.target"
cat >"$units/scenario.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/bash /run/shared/scenario.sh
StandardOutput=file:/run/shared/output
StandardError=file:/run/shared/output
UNIT
. "$shared/prepare.sh"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd --system --log-target=console
