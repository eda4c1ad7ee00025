#!/usr/bin/env bash
# Trains on all hosts of a TPU pod: creates it, installs this checkout on it, starts the training, and does so again
# when the pod is preempted. The pod stays at the end. Start it where it can go on, such as in tmux.
#
# usage: experiments/clusters/tpu_pod.sh NAME ZONE [flag of `tpu-vm create` ...] -- --config=… --workdir=gs://…
#        experiments/clusters/tpu_pod.sh pod us-west4-a --accelerator-type=v5litepod-64 --version=v2-alpha-tpuv5-lite \
#            --spot -- --config=experiments/configs/pod.py --workdir=gs://BUCKET/RUN
#
# MAX_RESTARTS (100) limits how often the training is started again, PAUSE (60) is the time between two tries in seconds.
set -euo pipefail

usage="usage: $0 NAME ZONE [flag of 'gcloud compute tpus tpu-vm create' ...] -- --config=FILE --workdir=gs://BUCKET/RUN"
create=()
while [[ $# -gt 0 && "$1" != "--" ]]; do
    create+=("$1")
    shift
done
if [[ ${#create[@]} -lt 2 || $# -lt 2 ]]; then
    echo "$usage" >&2
    exit 2
fi
name="${create[0]}" zone="${create[1]}" create=("${create[@]:2}")
shift
printf -v flags ' %q' "$@"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tpu() {
    gcloud compute tpus tpu-vm "$1" "$name" "--zone=$zone" "${@:2}"
}

on_all() {
    tpu ssh --worker=all "--command=$1"
}

state() {
    tpu describe '--format=value(state)' 2>/dev/null || true
}

# Returns when the pod is ready; a preempted one is replaced.
provide() {
    while true; do
        case "$(state)" in
            READY) return ;;
            "") tpu create "${create[@]}" || sleep "${PAUSE:-60}" ;; # there may be no free pod
            PREEMPTED | TERMINATED) tpu delete --quiet || sleep "${PAUSE:-60}" ;;
            STOPPED) tpu start || sleep "${PAUSE:-60}" ;;
            *) sleep "${PAUSE:-60}" ;;
        esac
    done
}

install() {
    local folder
    folder="$(mktemp -d)"
    git archive --format=tar.gz --prefix=sdgan-jax/ --output="$folder/sdgan-jax.tar.gz" HEAD || return
    gcloud compute tpus tpu-vm scp "$folder/sdgan-jax.tar.gz" "$name:" "--zone=$zone" --worker=all || return
    rm -r "$folder"
    # The images of TPU pods have Python 3.10; uv brings its own.
    on_all "tar xzf sdgan-jax.tar.gz && python3 -m pip install -q --user uv && cd sdgan-jax \
        && { test -d .venv || ~/.local/bin/uv venv -q --python=3.12 .venv; } \
        && ~/.local/bin/uv pip install -q --python=.venv -e '.[tpu,gcs]'"
}

for ((restart = 0; restart <= ${MAX_RESTARTS:-100}; restart++)); do
    provide
    code=0
    # Processes of a connection that broke off would hold the chips.
    install && on_all "pkill -9 -f '[e]xperiments.train' || true" || code=255
    if [[ $code -eq 0 ]]; then
        on_all "cd sdgan-jax && .venv/bin/python -m experiments.train --distributed$flags" || code=$?
        # 1 is a mistake, which another start would repeat, unless gcloud has failed because the pod is gone.
        if [[ $code -eq 0 ]] || [[ $code -eq 1 && "$(state)" == READY ]]; then
            exit "$code"
        fi
    fi
    echo "The training on $name ended with $code; it is started again and resumes." >&2
    sleep "${PAUSE:-60}"
done
echo "error: the training on $name was started again ${MAX_RESTARTS:-100} times" >&2
exit 1
