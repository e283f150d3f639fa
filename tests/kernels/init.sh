#!/bin/sh
# The second program of a guest: it completes what a booted system has, does the job that
# lies beside it, and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
results=/run/results

mkdir -p /dev/shm /dev/pts /run/scratch
mount -t tmpfs none /dev/shm
mount -t devpts none /dev/pts
mount -t debugfs none /sys/kernel/debug
mount -t tracefs none /sys/kernel/tracing
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up

# The modules of this kernel, wherever on the host they lie.
mkdir -p /lib/modules
ln -sfn "$(cat $results/modules)" "/lib/modules/$(uname -r)"
modprobe loop # elsewhere udev makes its device
# A file system on a disk: some things do not happen in memory.
mount -t ext4 /dev/vda /run/scratch || exit
export TMPDIR=/run/scratch

/bin/sh $results/job.sh
echo $? >$results/rc
dmesg >$results/dmesg
umount /run/scratch
sync
echo o >/proc/sysrq-trigger # off
while :; do :; done
