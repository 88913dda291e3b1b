#!/bin/bash
# A training on several machines that are reached by SSH.
# Run it on the first machine, in the working folder (on storage that all machines share):
#   docs/cluster/torchrun_ssh.sh "HOST HOST ..." -m d2m_model.STAGE [ARGUMENT ...]
#   docs/cluster/torchrun_ssh.sh "node2 node3" -m d2m_model.d2m_gan --corpus demo --level high --variant full
# HOSTs are the other machines. PROCESSES (default 1) run on each machine: as many as it has GPUs. VENV is the environment with this
# project, at the same path everywhere (default: .venv here). ADDRESS is how the others reach this machine, PORT a free port of it.
set -euo pipefail
read -ra hosts <<< "$1"
shift
bin=${VENV:-$PWD/.venv}/bin
here=${ADDRESS:-$(hostname -I | cut -d ' ' -f 1)}
torchrun=("$bin/torchrun" --nnodes "$((${#hosts[@]} + 1))" --nproc-per-node "${PROCESSES:-1}"
    --rdzv-backend c10d --rdzv-id d2m --rdzv-endpoint "$here:${PORT:-29400}" "$@")

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for host in "${hosts[@]}"; do # with a terminal, so that the command ends there when ssh ends here
    ssh -tt "$host" "cd $(printf %q "$PWD") && $(printf '%q ' "${torchrun[@]}")" < /dev/null &
done
"${torchrun[@]}"
for job in $(jobs -p); do wait "$job"; done
