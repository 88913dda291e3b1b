#!/bin/bash
# A training on the machines of a Slurm job. In the working folder, on storage that all machines share:
#   sbatch --nodes 2 docs/cluster/torchrun_slurm.sh -m d2m_model.d2m_gan --corpus demo --level high --variant full
#   PROCESSES=4 sbatch --nodes 2 --gpus-per-node 4 docs/cluster/torchrun_slurm.sh -m d2m_model.d2m_gan ...
# PROCESSES (default 1) run on each machine: as many as it has GPUs. VENV is the environment with this project (default: .venv in the
# working folder). A stopped job ends with 75: start it again with --resume.
#SBATCH --job-name=d2m-train
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail
export PATH=${VENV:-$PWD/.venv}/bin:$PATH
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*} # not by `head -n 1`, which ends scontrol, and with it this script, if there are many
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${PROCESSES:-1}" \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:${PORT:-29400}" "$@"
