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
# The host at the other end of the wire.
network() {
    ip address add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ping -c 3 -W 5 10.0.2.1 >/dev/null
}
now() {
    sed 's/\.\(..\) .*/\10/' /proc/uptime
}
await_button() {
    say 'waiting'
    pressed='/ACPI:Ged/ { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { exit !sum }'
    until awk "$pressed" /proc/interrupts; do
        sleep 0.1
    done
}

say "root $(grep ' / ' /proc/mounts | cut -d ' ' -f 1,3,4 | cut -d , -f 1)"
say "disk serial=$(cat /sys/block/vda/serial) queues=$(ls /sys/block/vda/mq | wc -l)"
# Feature 32 of each device: 0 where its interface is the one before version 1.
say "versions 1: $(cut -c 33 /sys/bus/virtio/devices/*/features | tr -d '\n')"
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
storm)
    count=$(($(cat /boots || echo 0) + 1))
    echo "$count" >/boots
    say "boot $count"
    [ "$count" -eq 1 ] && number
    sync
    if [ "$count" -eq 3 ]; then
        md5sum -c /sum && say 'data is whole'
        finish
    fi
    # Writes and reads of which many are under way when the machine is reset.
    mount -o remount,ro /
    for _ in 1 2; do
        cat /dev/vda >/dev/null &
        dd if=/dev/vda of=/dev/vda bs=4096 conv=notrunc 2>/dev/null &
    done
    sleep 0.2
    reboot -f
    ;;
shrink)
    say 'waiting'
    # The kernel has to ask the disk again each time; not often, because programs are read again, too.
    sleep 1
    while dd if=/dev/vda bs=4096 skip=4095 count=1 >/dev/null 2>&1; do
        sleep 1
        echo 3 >/proc/sys/vm/drop_caches
    done
    echo 3 >/proc/sys/vm/drop_caches
    dd if=/dev/vda bs=4096 count=512 >/dev/null 2>&1 && say 'a read has failed, the others are as before'
    poweroff -f
    ;;
button)
    number
    await_button
    finish
    ;;
net)
    network && answers='host answers'
    queues=$(find /sys/class/net/eth0/queues/ -name 'rx-*' | wc -l)
    say "net $(name /sys/class/net/eth0/device/driver) mac=$(cat /sys/class/net/eth0/address) queues=$queues"
    mkdir -p /tmp && mount -t tmpfs tmp /tmp && mkdir /tmp/served
    streams=$(seq 1 "$queues")
    for stream in $streams; do
        head -c 10485760 /dev/urandom >"/tmp/served/$stream"
    done
    httpd -p 10.0.2.15:80 -h /tmp/served
    say "$answers"
    start=$(now)
    fetchers=
    for stream in $streams; do
        wget -q -O "/tmp/in$stream" "http://10.0.2.1/$stream" &
        fetchers="$fetchers $!"
    done
    # Words for the list.
    # shellcheck disable=SC2086
    wait $fetchers
    say "in in $(($(now) - start)) ms"
    for stream in $streams; do
        say "received $stream $(md5sum <"/tmp/in$stream")"
        say "serves $stream $(md5sum <"/tmp/served/$stream")"
    done
    await_button
    finish
    ;;
net-reboot)
    count=$(($(cat /boots || echo 0) + 1))
    echo "$count" >/boots
    network && say "boot $count, host answers"
    [ "$count" -lt 3 ] || finish
    sync
    mount -o remount,ro / && reboot -f
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
