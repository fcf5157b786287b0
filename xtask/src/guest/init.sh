#!/bin/busybox sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The first process of the default guest: says that it was reached, then gives a shell, or ends
# the machine as qboot_rs.exit, qboot_rs.poweroff, qboot_rs.button or qboot_rs.panic on the kernel
# command line says. With qboot_rs.login root logs in on hvc0, without a password; with
# qboot_rs.sizes it says the first two sizes of hvc0; with qboot_rs.root=DEVICE it goes on to the
# init on that disk. A /program is run first.
/bin/busybox mkdir -p /proc /sys /dev /tmp /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order 2>/dev/null); do
    /bin/busybox insmod "/modules/$module"
done
# Not before, because the console may be one of the modules'.
exec </dev/console >/dev/console 2>&1
disk=$(/bin/busybox sed -n 's/.*qboot_rs\.root=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ -n "$disk" ]; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -b "$disk" ] && break
        /bin/busybox sleep 0.2
    done
    /bin/busybox mount -t ext4 "$disk" /root && exec /bin/busybox switch_root /root /sbin/init
fi
echo "QBOOT-RS: init reached cpus=$(/bin/busybox grep -c '^processor' /proc/cpuinfo)"
[ ! -x /program ] || /program
said() {
    /bin/busybox grep -qw "$1" /proc/cmdline
}
if said 'qboot_rs.random'; then
    bytes=$(/bin/busybox dd if=/dev/hwrng bs=1000 count=100 iflag=fullblock 2>/dev/null | /bin/busybox wc -c)
    echo "QBOOT-RS: random bytes=$bytes from $(/bin/busybox cat /sys/class/misc/hw_random/rng_current)"
fi
if said 'qboot_rs.login'; then
    /bin/busybox mkdir -p /etc
    echo 'root::0:0:root:/root:/bin/sh' >/etc/passwd
    /bin/busybox --install -s /bin
    while :; do
        /bin/getty -L 0 hvc0 vt100
    done
elif said 'qboot_rs.sizes'; then
    size='0 0'
    for _ in 1 2; do
        before=$size
        while [ "$size" = "$before" ]; do
            /bin/busybox sleep 0.1
            size=$(/bin/busybox stty -F /dev/hvc0 size)
        done
        echo "QBOOT-RS: console of $size"
    done
    /bin/busybox poweroff -f
elif said 'qboot_rs.button'; then
    # What the stock kernel does about the power button is in modules; that it was told is not.
    pressed='/ACPI:Ged/ { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { exit !sum }'
    until /bin/busybox awk "$pressed" /proc/interrupts; do
        /bin/busybox sleep 0.1
    done
    echo 'QBOOT-RS: power button'
    /bin/busybox poweroff -f
elif said 'qboot_rs.panic'; then
    echo c >/proc/sysrq-trigger
elif said 'qboot_rs.poweroff'; then
    /bin/busybox poweroff -f
elif ! said 'qboot_rs.exit'; then
    export PATH=/bin HOME=/root TERM=vt100 PS1='guest# '
    /bin/busybox --install -s /bin
    cd /root
    # A session of its own with the terminal, so that Ctrl-C reaches what the shell runs.
    setsid cttyhack sh
fi
# With reboot=t on the command line: a triple fault, which ends a machine that may not reboot.
/bin/busybox reboot -f
