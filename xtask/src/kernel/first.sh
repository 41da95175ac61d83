#!/bin/busybox sh
# The first process of the machine: makes a root file system of the host's, which it sees read-only over 9p, with a
# layer in memory on top, and goes on there. It ends the machine by failing: the kernel panics without it.
set -e
b=/bin/busybox

$b mount -t proc proc /proc
$b mount -t devtmpfs devtmpfs /dev
for module in $($b cat /modules/order); do
    $b insmod "/modules/$module"
done

# The host's files do not change meanwhile, so they may be cached.
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
$b mount -t tmpfs tmpfs /changes
$b mkdir /changes/upper /changes/work
$b mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work overlay /root

# What belongs to a kernel and to a boot is this machine's own.
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b mount -t devtmpfs devtmpfs /root/dev
$b mount -t tmpfs tmpfs /root/run
$b mkdir /root/run/machine
$b cp /bin/busybox /second.sh /job.sh /root/run/machine/
$b umount /proc
exec $b switch_root -c /dev/console /root /bin/sh /run/machine/second.sh
