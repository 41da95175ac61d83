#!/bin/bash
# Starts systemd over this host's files, in namespaces that the caller has made; every change stays in memory.
# The first argument is an empty folder, where the machine's root comes to be.
set -e

memory=$1/memory root=$1/root
mkdir "$memory" "$root"
mount -t tmpfs tmpfs "$memory"
mkdir "$memory"/{changes,work}
mount -t overlay overlay -o lowerdir=/,upperdir="$memory/changes",workdir="$memory/work" "$root"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf -o mode=0700 bpf "$root/sys/fs/bpf"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# Of the host's units only those that name points of the boot: nothing in here may touch the host's hardware or settings.
units=/usr/lib/systemd/system
mount -t tmpfs -o mode=0755 tmpfs "$root$units"
for target in basic exit final local-fs local-fs-pre multi-user network network-pre paths shutdown slices sockets sysinit \
    timers umount; do
    cp "$units/$target.target" "$root$units/"
done
cp "$units/systemd-exit.service" "$root$units/"
mount -t tmpfs -o mode=0755 tmpfs "$root/usr/lib/systemd/system-generators"
rm -rf "$root"/etc/systemd/system "$root"/etc/systemd/system-generators "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/etc/systemd/system/service.d"
printf '[Service]\nStandardOutput=append:/run/services.log\nStandardError=append:/run/services.log\n' \
    >"$root/etc/systemd/system/service.d/log.conf"

# Where the story can see what was changed.
mkdir "$root/run/changes"
mount --bind "$memory/changes" "$root/run/changes"

# The machine's root is all there is: services get file systems of their own made from it.
cd "$root"
mkdir host
pivot_root . host
umount --lazy /host
rmdir /host
# As on a machine that was booted: what is mounted for a service is seen by the service.
mount --make-rshared /
exec env -i container=portmeter PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=no
