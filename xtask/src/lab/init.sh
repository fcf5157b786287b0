#!/bin/busybox sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The first process of the lab's outer machine: makes KVM usable, runs /lab/command, says how it
# ended and ends the machine.
export PATH=/bin:/lab HOME=/lab TERM=vt100 PS1='lab# '
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
exec </dev/ttyS0 >/dev/ttyS0 2>&1
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "LAB: cannot load $module"
done
cd /lab
usleep "$(sed -n 's/.*lab\.wait=\([0-9]*\).*/\1/p;t;s/.*/0/p' /proc/cmdline)"
. /lab/command
printf '\r\nLAB: microvm exit=%d\r\n' "$?"
reboot -f
