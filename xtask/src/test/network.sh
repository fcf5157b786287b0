# SPDX-License-Identifier: MIT OR Apache-2.0
# The outer machine's part of a conversation with the guest behind tap0: what both send is 10 MiB a
# stream, and has to arrive as it was.
insmod tun.ko
mkfifo silent
# Input that never ends: at its end nc would hang up.
exec 3<>silent

network() {
    ip address add 10.0.2.1/24 dev tap0
    ip link set tap0 up
}
# So many streams in each direction, at once.
talk() {
    others=
    for stream in $(seq 1 "$1"); do
        head -c 10485760 /dev/urandom >"out$stream"
        nc -l -p "701$stream" <"out$stream" >/dev/null &
        others="$others $!"
        nc -l -p "702$stream" <&3 >"in$stream" &
        others="$others $!"
    done
    heard 'QBOOT-RS: host answers'
    ping -c 3 -W 5 10.0.2.15 >/dev/null && echo 'LAB: guest answers'
    # Words for the list.
    # shellcheck disable=SC2086
    wait $others
    heard 'QBOOT-RS: waiting'
}
judge() {
    sed -n 's/.*QBOOT-RS: \(took.*\)/LAB: \1/p' log
    for stream in $(seq 1 "$1"); do
        grep -q "QBOOT-RS: received $stream $(md5sum <"out$stream")" log
        grep -q "QBOOT-RS: sent $stream $(md5sum <"in$stream")" log
        echo "LAB: stream $stream is whole both ways"
    done
}
