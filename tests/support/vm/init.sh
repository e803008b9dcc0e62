#!/bin/busybox sh
# Process 1 of a virtual machine until it has its root: the host's / with a layer of memory on top, and the folder that
# both share at /exchange, where what goes on is (guest.sh). Whatever fails here ends the machine: its kernel panics.
/bin/busybox --install -s /bin
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
mount -t virtiofs -o ro host /host
mount -t tmpfs -o size=60% tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root
for folder in proc sys dev run; do mkdir -p "/root/$folder"; done
mkdir -p /root/exchange
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
mount -t devtmpfs devtmpfs /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs tmpfs /root/dev/shm
ln -sf /proc/self/fd /root/dev/fd
mount -t tmpfs -o mode=0755 tmpfs /root/run
mount -t virtiofs exchange /root/exchange
ifconfig lo 127.0.0.1 up
hostname nydus-gd-vm
# The kernel looks for modprobe from here on in the new root, as this process is the one that changes it.
exec switch_root /root /bin/sh /exchange/guest.sh
