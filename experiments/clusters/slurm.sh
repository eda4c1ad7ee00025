#!/usr/bin/env bash
# Trains on the nodes of a Slurm job, one process a node. At the time limit, at a preemption or after the death of a node
# the job is queued again and resumes.
#
# usage: sbatch --nodes=4 --gpus-per-node=8 --time=12:00:00 experiments/clusters/slurm.sh -- --config=… --workdir=…
#
# Submit it in the checkout. PYTHON names the interpreter, MAX_RESTARTS (100) limits how often the job is queued again.
# A training ends with 1 after a mistake, which another start would repeat, and with another code when it was stopped,
# lost a process or met an unexpected error.
#SBATCH --job-name=sdgan
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@180
set -uo pipefail

[[ "${1:-}" == "--" ]] && shift
if [[ $# -eq 0 ]]; then
    echo "usage: sbatch --nodes=N [option of sbatch ...] $0 -- --config=FILE --workdir=DIR [flag ...]" >&2
    exit 2
fi
if [[ -n "${SLURM_CPUS_PER_TASK:-}" ]]; then
    export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # srun does not read what sbatch was given
fi

# A dead process ends the others by their heartbeat, so that they can say which one it was.
code=0
srun --kill-on-bad-exit=0 "${PYTHON:-python}" -m experiments.train --distributed "$@" || code=$?
if [[ $code -le 1 ]]; then
    exit "$code"
fi
if [[ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_RESTARTS:-100}" ]]; then
    echo "error: the training ended with $code; it was queued again ${SLURM_RESTART_COUNT:-0} times already" >&2
    exit "$code"
fi
echo "The training ended with $code; the job is queued again and resumes."
scontrol requeue "$SLURM_JOB_ID"
