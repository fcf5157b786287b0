# SPDX-License-Identifier: MIT OR Apache-2.0
# The outer machine's part of a conversation with the guest behind tap0: what both send is 10 MiB a
# stream, and has to arrive as it was.
insmod tun.ko

network() {
    ip address add 10.0.2.1/24 dev tap0
    ip link set tap0 up
}
# So many streams in each direction, at once. Whole files are what makes large segments.
talk() {
    mkdir served
    for stream in $(seq 1 "$1"); do
        head -c 10485760 /dev/urandom >"served/$stream"
    done
    httpd -p 10.0.2.1:80 -h served
    heard 'QBOOT-RS: host answers'
    ping -c 3 -W 5 10.0.2.15 >/dev/null && echo 'LAB: guest answers'
    heard 'QBOOT-RS: waiting'
    fetchers=
    for stream in $(seq 1 "$1"); do
        wget -q -O "in$stream" "http://10.0.2.15/$stream" &
        fetchers="$fetchers $!"
    done
    start=$(now)
    # Words for the list.
    # shellcheck disable=SC2086
    wait $fetchers
    echo "LAB: out in $(($(now) - start)) ms"
}
now() {
    sed 's/\.\(..\) .*/\10/' /proc/uptime
}
judge() {
    sed -n 's/.*QBOOT-RS: \(in in.*\)/LAB: \1/p' log
    for stream in $(seq 1 "$1"); do
        grep -q "QBOOT-RS: received $stream $(md5sum <"served/$stream")" log
        grep -q "QBOOT-RS: serves $stream $(md5sum <"in$stream")" log
        echo "LAB: stream $stream is whole both ways"
    done
}
