#!/usr/bin/env bash
# What the four container scripts share; source it. Every failure is one line on stderr with a remedy; exit status 2
# where the user must name, install or start something, 3 where Docker broke.
#
# Read from the environment:
#   LAB_MODEL, LAB_DATASET   folders of this host, mounted at /model and /data
#   LAB_RESULTS              folder of this host for run folders and, below submission/, submission trees (default:
#                            results/ in the repository)
#   HARNESS_PLATFORM         cpu, cuda or rocm (default: what this host has)
#   BASE_IMAGE, PIP_*        as the Dockerfile's build arguments; PIP_* also for pip in the container
#   LAB_GPUS                 NVIDIA: the GPUs to give, as docker's --gpus takes them (default: all)
#   LAB_CONTAINER            name of the container (default: lab-mlperf-inference-, what it is for, and your name)
#   LAB_SHM_SIZE             limit of /dev/shm (default: 16g; NCCL and PyTorch workers keep their buffers there)
#   LAB_NETWORK              docker's --network (default: host; several hosts find each other by it)

export LAB_MODEL="${LAB_MODEL:-/data/inference/model/}"
export LAB_DATASET="${LAB_DATASET:-/data/inference/data/}"

# shellcheck source=host.sh
source "$(dirname "${BASH_SOURCE[0]}")/host.sh"

_containers_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_containers_inside=/lab-mlperf-inference
_containers_stand_in=10001 # user of the image, where the host's user is root
_containers_rocm_base=vllm/vllm-openai-rocm:v0.25.1
_containers_pip=(PIP_CERT PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_INDEX_URL PIP_TRUSTED_HOST)
# What a command in the container is given from this host's environment.
_containers_passed=(COMPANY SYSTEM_NAME GPU_NAME BENCHMARK DIVISION ENGINE ROUND SCENARIOS SHAPE SYSTEM_YAML TESTS
    TEST07_SHAPE TUNE USER_CONF HUGGINGFACE_ACCESS_TOKEN HF_ENDPOINT "${_containers_pip[@]}")

_containers_fail() { # STATUS MESSAGE [REMEDY]
    tell_error "$@" || exit
}

# Ends with the reason if docker cannot be used by this user.
containers_require_docker() {
    local answer
    command -v docker >/dev/null || _containers_fail 2 "the command docker is not there" \
        "Install Docker (Debian, Ubuntu: apt-get install docker.io)."
    answer=$(docker info 2>&1 >/dev/null) && return 0
    case $answer in
    *"permission denied"*)
        _containers_fail 2 "user $(id -un) may not talk to the Docker daemon" \
            "sudo usermod -aG docker $(id -un), then log in again; or run this with sudo."
        ;;
    *"annot connect"* | *"no such file"* | *"onnection refused"*)
        _containers_fail 2 "no Docker daemon answers at ${DOCKER_HOST:-the default socket}" \
            "Start it: sudo systemctl start docker (or sudo dockerd)."
        ;;
    *) _containers_fail 3 "docker info failed: $(tail -1 <<<"$answer")" ;;
    esac
}

# containers_gpu_options PLATFORM: fills the array gpu_options with docker's options for this host's accelerators.
containers_gpu_options() {
    gpu_options=()
    case $1 in
    cuda)
        if [[ $(docker info --format '{{json .Runtimes}}' 2>/dev/null) != *nvidia* ]] &&
            ! command -v nvidia-container-runtime-hook >/dev/null && ! command -v nvidia-container-cli >/dev/null; then
            _containers_fail 2 "this host has NVIDIA GPUs, but Docker has no NVIDIA runtime" \
                "Install nvidia-container-toolkit, then: sudo nvidia-ctk runtime configure && sudo systemctl restart docker."
        fi
        gpu_options=(--gpus "${LAB_GPUS:-all}")
        ;;
    rocm)
        local node group
        for node in /dev/kfd /dev/dri; do
            [[ -e $node ]] || _containers_fail 2 "$node is not there: no GPU runtime for AMD" "Install the amdgpu driver."
        done
        gpu_options=(--device /dev/kfd --device /dev/dri --security-opt seccomp=unconfined)
        # The groups that own the devices, by number: the image's groups have other numbers.
        while read -r group; do
            gpu_options+=(--group-add "$group")
        done < <(stat -c %g /dev/kfd /dev/dri/renderD* 2>/dev/null | sort -u)
        ;;
    esac
}

# containers_build NAME: builds this host's target of the Dockerfile and tags it lab-mlperf-inference/NAME:PLATFORM.
containers_build() {
    local platform argument arguments=()
    platform=$(host_platform) || exit
    containers_require_docker
    [[ "$platform" != rocm ]] || export BASE_IMAGE=${BASE_IMAGE:-$_containers_rocm_base}
    for argument in BASE_IMAGE "${_containers_pip[@]}"; do
        [[ -z "${!argument:-}" ]] || arguments+=(--build-arg "$argument")
    done
    docker build --network "${LAB_NETWORK:-host}" --target "$platform" --build-arg "ONLY=$platform" \
        "${arguments[@]}" --tag "lab-mlperf-inference/$1:$platform" "$_containers_root" ||
        _containers_fail 3 "docker build failed (its output is above)"
    echo "built lab-mlperf-inference/$1:$platform"
}

# Prints the user that the container runs as, uid:gid: whoever starts it, or the image's own where that is root.
_containers_user() {
    if [[ $(id -u) -eq 0 ]]; then
        echo "$_containers_stand_in:$_containers_stand_in"
    else
        echo "$(id -u):$(id -g)"
    fi
}

# _containers_folder VARIABLE FOLDER: prints its absolute path, or ends: a folder that Docker makes belongs to root.
_containers_folder() {
    local make="mkdir -p $2"
    [[ $(id -u) -ne 0 ]] || make="install -d -o $_containers_stand_in -g $_containers_stand_in $2"
    [[ -d "$2" ]] || _containers_fail 2 "$1: folder $2 is missing" "$make, or export $1=/another/folder."
    (cd "$2" && pwd)
}

# _containers_output FOLDER: makes a folder that results are mounted out to, and prints its absolute path.
_containers_output() {
    if [[ ! -d "$1" ]]; then
        mkdir -p "$1" || _containers_fail 2 "$1 cannot be made" "Check its owner, or export LAB_RESULTS=/another/folder."
        [[ $(id -u) -ne 0 ]] || chown "$(_containers_user)" "$1"
    fi
    (cd "$1" && pwd)
}

# containers_start NAME [COMMAND...]: attaches to this user's running container of that name, or starts it first, and
# runs COMMAND (default: a shell) in it. The container stays; a lost connection ends no run.
containers_start() {
    local name=$1 platform image container terminal=() variables=() variable
    shift
    platform=$(host_platform) || exit
    containers_require_docker
    image=lab-mlperf-inference/$name:$platform
    container=${LAB_CONTAINER:-lab-mlperf-inference-$name-$(id -un)}
    _containers_compose "$name" "$platform" "$image"
    _containers_ensure_running "$container" "$image"
    _containers_require_writable "$name" "$container"
    [[ ! -t 0 || ! -t 1 ]] || terminal=(--tty)
    for variable in "${_containers_passed[@]}"; do
        [[ -z "${!variable:-}" ]] || variables+=(--env "$variable")
    done
    [[ $# -gt 0 ]] || set -- bash
    exec docker exec --interactive "${terminal[@]}" "${variables[@]}" "$container" "$@"
}

# _containers_compose NAME PLATFORM IMAGE: fills the array options with how the container is to be run.
_containers_compose() {
    local model dataset results
    docker image inspect "$3" >/dev/null 2>&1 ||
        _containers_fail 2 "the image $3 is not built" "bash setup/build_${1//-/_}_env.sh"
    model=$(_containers_folder LAB_MODEL "$LAB_MODEL") || exit
    dataset=$(_containers_folder LAB_DATASET "$LAB_DATASET") || exit
    results=$(_containers_output "${LAB_RESULTS:-$_containers_root/results}") || exit
    containers_gpu_options "$2"
    options=(
        --user "$(_containers_user)" --network "${LAB_NETWORK:-host}" --shm-size "${LAB_SHM_SIZE:-16g}"
        --ulimit stack=67108864 # compilers recurse deeply
        --cap-add SYS_NICE # lets vLLM bind its memory to a NUMA node
        --volume "$model:/model" --volume "$dataset:/data" --volume "$results:$_containers_inside/results"
    )
    # Copies to and from a GPU go through pinned memory, which counts as locked; NCCL opens many descriptors. Not asked for
    # on a CPU host, where neither matters and a daemon without CAP_SYS_RESOURCE could not grant it.
    [[ "$2" == cpu ]] || options+=(--ulimit memlock=-1 --ulimit nofile=1048576:1048576)
    options+=("${gpu_options[@]}")
}

# _containers_ensure_running CONTAINER IMAGE: starts it with the array options, unless it runs with the same ones.
_containers_ensure_running() {
    local state settings
    settings="${options[*]} $(docker image inspect --format '{{.Id}}' "$2")"
    state=$(docker container inspect --format '{{.State.Status}}' "$1" 2>/dev/null) || state=absent
    if [[ "$state" != absent &&
        "$(docker container inspect --format '{{index .Config.Labels "settings"}}' "$1")" != "$settings" ]]; then
        _containers_fail 2 "container $1 was started from another image or with other folders, GPUs or settings" \
            "If nothing runs in it: docker rm --force $1, then run this again."
    fi
    case $state in
    running) echo "attaching to $1" >&2 ;;
    absent)
        echo "starting $1" >&2
        docker run --detach --init --name "$1" --label "settings=$settings" "${options[@]}" "$2" \
            sleep infinity >/dev/null || {
            docker rm --force "$1" >/dev/null 2>&1
            _containers_fail 3 "the container could not be started (Docker's reason is above)"
        }
        ;;
    *)
        echo "starting $1 again" >&2
        docker start "$1" >/dev/null || _containers_fail 3 "the container could not be started (Docker's reason is above)"
        ;;
    esac
}

# _containers_require_writable NAME CONTAINER: ends if its user may not write where its work goes. Asked inside, where
# access lists, network folders and user namespaces have their say too.
_containers_require_writable() {
    local refused variable=LAB_RESULTS host=${LAB_RESULTS:-$_containers_root/results}
    local wanted=("$_containers_inside/results")
    [[ "$1" != model-and-dataset ]] || wanted=(/model /data)
    # shellcheck disable=SC2016 # expanded inside
    refused=$(docker exec "$2" sh -c 'for folder; do [ -w "$folder" ] || { echo "$folder"; break; }; done' sh "${wanted[@]}")
    [[ -n "$refused" ]] || return 0
    case $refused in
    /model) host=$LAB_MODEL variable=LAB_MODEL ;;
    /data) host=$LAB_DATASET variable=LAB_DATASET ;;
    esac
    _containers_fail 2 "$variable: user $(_containers_user), as which the container runs, may not write to $host" \
        "chown -R $(_containers_user) $host, or export $variable=/another/folder."
}
