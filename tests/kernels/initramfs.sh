#!/bin/sh
# The first program of a guest, run by busybox out of the initramfs: it gives the kernel the
# host's root, read-only, with a layer in memory above it, and hands over to the host's shell.
export PATH=/bin

halt() {
    echo "the guest cannot start: $1"
    echo o >/proc/sysrq-trigger # off
    while :; do :; done
}

mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
while read -r module; do
    insmod "/modules/$module" || halt "no module $module"
done </modules/order

shared=trans=virtio,version=9p2000.L,msize=262144
mount -t 9p -o "$shared,ro,cache=loose" root /lower || halt "no root"
mount -t tmpfs none /upper || halt "no memory"
mkdir /upper/changes /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/changes,workdir=/upper/work none /root ||
    halt "no overlay"
for each in proc sys dev; do mount --move "/$each" "/root/$each"; done
mount -t tmpfs none /root/run
mkdir /root/run/results
mount -t 9p -o "$shared" results /root/run/results || halt "no place for results"
# This must stay process 1: the kernel looks for modprobe below its root.
exec switch_root /root /bin/sh /run/results/init.sh
