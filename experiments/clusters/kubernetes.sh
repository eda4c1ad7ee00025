#!/usr/bin/env bash
# Prints a Kubernetes JobSet that trains in HOSTS pods, for `kubectl apply -f -`. The pods find each other by the names
# that JobSet gives them. When one fails or is evicted, all are started again and resume.
#
# usage: experiments/clusters/kubernetes.sh NAME IMAGE HOSTS [RESOURCE=AMOUNT ...] [select:LABEL=VALUE ...] \
#            -- --config=… --workdir=… | kubectl apply -f -
#        … nvidia.com/gpu=8                                                                                  (GPUs)
#        … google.com/tpu=4 select:cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice \
#            select:cloud.google.com/gke-tpu-topology=4x4                                                    (TPUs of GKE)
#        … cpu=8 memory=16Gi                                                                                 (CPUs)
#
# The image holds this project with the wheels of the hardware and of the object store ([gcs] for gs://). /dev/shm, through
# which data workers pass batches, lies in the memory of the pod. MAX_RESTARTS (100) limits the restarts. A pod that ends
# with 1 has met a mistake, which another start would repeat: the JobSet fails.
set -euo pipefail

quote() { # as a string of YAML; Kubernetes would expand $(NAME)
    local text="${1//\\/\\\\}"
    text="${text//\"/\\\"}"
    echo "\"${text//\$(/\$\$(}\""
}

given=()
while [[ $# -gt 0 && "$1" != "--" ]]; do
    given+=("$1")
    shift
done
if [[ ${#given[@]} -lt 3 || $# -lt 2 || ! "${given[2]}" =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 NAME IMAGE HOSTS [RESOURCE=AMOUNT ...] [select:LABEL=VALUE ...] -- --config=FILE --workdir=DIR" >&2
    exit 2
fi
name="${given[0]}" image="${given[1]}" hosts="${given[2]}"
if [[ ! "$name" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]]; then
    echo "error: NAME $name: use at most 40 small letters, digits and hyphens, and a letter first" >&2
    exit 2
fi
shift

limits="" selectors=""
for item in "${given[@]:3}"; do
    if [[ "$item" != ?*=?* ]]; then
        echo "error: $item: write RESOURCE=AMOUNT or select:LABEL=VALUE" >&2
        exit 2
    fi
    entry="$(quote "${item%%=*}"): $(quote "${item#*=}")"
    if [[ "$item" == select:* ]]; then
        selectors+=$'\n'"                ${entry/select:/}"
    else
        limits+=$'\n'"                      $entry"
    fi
done
flags=""
for flag in "$@"; do
    flags+=$'\n'"                    - $(quote "$flag")"
done

cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
spec:
  network:
    enableDNSHostnames: true
    publishNotReadyAddresses: true
  failurePolicy:
    maxRestarts: ${MAX_RESTARTS:-100}
    rules:
      - name: mistake
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: host
      replicas: 1
      template:
        spec:
          completionMode: Indexed
          completions: $hosts
          parallelism: $hosts
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes: {containerName: train, operator: In, values: [1]}
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 180${selectors:+
              nodeSelector:$selectors}
              containers:
                - name: train
                  image: $(quote "$image")
                  command: [python, -m, experiments.train]
                  args:
                    - "--coordinator=$name-host-0-0.$name:1234"
                    - "--num_processes=$hosts"
                    - "--process_id=\$(JOB_COMPLETION_INDEX)"$flags
                  ports:
                    - containerPort: 1234
                  volumeMounts:
                    - {name: shared-memory, mountPath: /dev/shm}${limits:+
                  resources:
                    limits:$limits}
              volumes:
                - name: shared-memory
                  emptyDir: {medium: Memory}
END
