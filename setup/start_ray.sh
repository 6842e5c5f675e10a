#!/usr/bin/env bash
# Makes this host one of a Ray cluster, on whose hosts replicas can be started (docs/several-hosts.md).
#
#   bash setup/start_ray.sh head ADDRESS [RAY ARGUMENT...]               begin a cluster
#   bash setup/start_ray.sh worker ADDRESS HEAD:PORT [RAY ARGUMENT...]   join it
#   bash setup/start_ray.sh stop                                         leave it
#   bash setup/start_ray.sh install                                      Ray alone, on a host that has a network now
#
# ADDRESS is this host's, in the network that the hosts share. Further arguments go to `ray start`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 3
source setup/environment.sh
usage() {
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}
case ${1:-} in
head) [[ $# -ge 2 ]] || usage ;;
worker) [[ $# -ge 3 ]] || usage ;;
stop | install) [[ $# -eq 1 ]] || usage ;;
*) usage ;;
esac
prepare_environment || exit $?
python -c 'import ray' 2>/dev/null || python -m pip install --quiet --no-deps -r requirements/ray.txt || exit 3
[[ $1 != install ]] || exit 0
export RAY_USAGE_STATS_ENABLED=0
role=$1
case $role in
head)
    address=$2
    shift 2
    exec ray start --head --node-ip-address "$address" --port 6379 --include-dashboard false --disable-usage-stats "$@"
    ;;
worker)
    address=$2 head=$3
    shift 3
    exec ray start --node-ip-address "$address" --address "$head" --disable-usage-stats "$@"
    ;;
stop) exec ray stop ;;
esac
