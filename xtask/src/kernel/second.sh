# Sets up the machine as an ordinary start of Debian would, does the job, says how that went, and ends the machine.
# Modules come by themselves, as they do on any host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/var/tmp/machine
mkdir -p /dev/net /dev/pts /dev/shm "$TMPDIR"
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
# The device file loads the module when it is opened.
mknod /dev/net/tun c 10 200
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up

status=0
. /run/machine/job.sh </dev/null
printf '\n%s %s\n' "$STATUS_MARK" "$status"

# Setting anything of a terminal waits until everything that was written to it has left.
stty -F /dev/console -echo
/run/machine/busybox poweroff -f
