#!/usr/bin/env bash
# Two hosts on one: network namespaces with a Ray node each, which see one another only over a cable of their own.
#
#   bash tests/integration/two_hosts.sh start NAME FOLDER    namespaces NAME-1 (10.77.0.1, the head) and NAME-2 (10.77.0.2)
#   bash tests/integration/two_hosts.sh lose NAME            the second host is gone, as by a cut of its power
#   bash tests/integration/two_hosts.sh stop NAME FOLDER
#
# Needs root and iproute2. FOLDER holds what Ray writes, a folder for each host.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 3
action=$1 name=$2 folder=${3:-}

end_all_in() {
    local left
    for _ in 1 2 3 4 5; do
        left=$(ip netns pids "$1" 2>/dev/null)
        [[ -n "$left" ]] || return 0
        # shellcheck disable=SC2086 # numbers
        kill -KILL $left 2>/dev/null
        sleep 0.3
    done
}

case $action in
start)
    bash setup/start_ray.sh install || exit 3 # the namespaces see no network to get it from
    for host in 1 2; do
        ip netns add "$name-$host" || exit 3
        ip -n "$name-$host" link set lo up
    done
    ip link add "$name-1" netns "$name-1" type veth peer name "$name-2" netns "$name-2" || exit 3
    for host in 1 2; do
        ip -n "$name-$host" address add "10.77.0.$host/24" dev "$name-$host"
        ip -n "$name-$host" link set "$name-$host" up
    done
    shared=(--num-cpus 1 --object-store-memory 100000000)
    ip netns exec "$name-1" bash setup/start_ray.sh head 10.77.0.1 "${shared[@]}" --temp-dir "$folder/1" || exit 3
    ip netns exec "$name-2" bash setup/start_ray.sh worker 10.77.0.2 10.77.0.1:6379 "${shared[@]}" || exit 3
    ;;
lose)
    end_all_in "$name-2"
    ;;
stop)
    for host in 2 1; do
        end_all_in "$name-$host"
        ip netns delete "$name-$host"
    done
    ;;
*) exit 2 ;;
esac
