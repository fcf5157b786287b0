#!/bin/busybox sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The first process on the root disk: says what the kernel has found, and uses it: a file is
# written to the disk and the network's gateway is asked for an echo. With qboot_rs.work=KIND on the
# command line it does that kind of work instead.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
say() { echo "QBOOT-RS: $*"; }
name() { basename "$(readlink "$1" || echo none)"; }

say "init reached cpus=$(grep -c '^processor' /proc/cpuinfo)"
work=$(sed -n 's/.*qboot_rs\.work=\([^ ]*\).*/\1/p' /proc/cmdline)
[ -z "$work" ] || . /sbin/work
echo written >/written && sync && say "root $(grep ' / ' /proc/mounts | cut -d ' ' -f 1,3)"
for device in /sys/class/net/*/device; do
    say "net $(name "$device/driver")"
done
ifconfig eth0 10.0.2.15 up && ping -c 1 -W 5 10.0.2.2 >/dev/null && say 'gateway answers'
for device in /sys/bus/pci/devices/*; do
    say "pci ${device##*/} $(cat "$device/vendor" "$device/device" | tr '\n' ' ')$(name "$device/driver")"
done
for table in /sys/firmware/acpi/tables/*; do
    [ -f "$table" ] && say "acpi ${table##*/}"
done
for field in sys_vendor product_name bios_vendor; do
    [ -f /sys/class/dmi/id/$field ] && say "dmi $field $(cat /sys/class/dmi/id/$field)"
done
cat /proc/interrupts /proc/iomem /proc/ioports /proc/mtrr
reboot -f
