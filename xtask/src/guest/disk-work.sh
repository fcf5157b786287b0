# SPDX-License-Identifier: MIT OR Apache-2.0
# Read by init on the root disk where qboot_rs.work=KIND is on the kernel command line: does that
# kind of work to the disk and ends the machine. Uses init's `say`.
finish() {
    sync
    mount -o remount,ro / && poweroff -f
}
number() {
    seq 1 200000 >/data
    md5sum /data >/sum
}

say "root $(grep ' / ' /proc/mounts | cut -d ' ' -f 1,3,4 | cut -d , -f 1)"
say "disk serial=$(cat /sys/block/vda/serial) queues=$(ls /sys/block/vda/mq | wc -l)"
case $work in
write)
    # What was discarded of it must not be missed.
    number && sync && rm /data && fstrim / && say 'trimmed'
    number
    finish
    ;;
check)
    md5sum -c /sum && say 'data is whole'
    finish
    ;;
reboot)
    count=$(($(cat /boots || echo 0) + 1))
    echo "$count" >/boots
    say "boot $count"
    [ "$count" -lt 4 ] || finish
    sync
    mount -o remount,ro / && reboot -f
    ;;
button)
    number
    say 'waiting'
    pressed='/ACPI:Ged/ { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { exit !sum }'
    until awk "$pressed" /proc/interrupts; do
        sleep 0.1
    done
    finish
    ;;
kill)
    number && sync && say 'synced'
    while :; do
        seq 1 300000 >/more
    done
    ;;
esac
say "cannot $work"
poweroff -f
