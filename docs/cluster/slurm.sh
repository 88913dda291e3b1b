#!/bin/bash
# Data stages on the machines of a Slurm job. In the working folder, on storage that all machines share:
#   sbatch --nodes 4 docs/cluster/slurm.sh
#   sbatch --nodes 4 docs/cluster/slurm.sh python -m dataset_tools.pose --cluster auto
# Without a command it runs `dvc repro shards`, for which params.yaml says `cluster: auto`.
# VENV is the environment with this project (default: .venv in the working folder).
#SBATCH --job-name=d2m
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail
[ $# -gt 0 ] || set -- dvc repro shards
export PATH=${VENV:-$PWD/.venv}/bin:$PATH RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 RAY_AUTH_MODE=token

# Ray refuses strangers by a secret in ~/.ray/auth_token, a folder that the machines of a Slurm cluster usually share.
ray get-auth-token --generate >/dev/null 2>&1
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*} # not by `head -n 1`, which ends scontrol, and with it this script, if there are many
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname -I | cut -d ' ' -f 1)
# Starts Ray on every machine, runs the command on the first, and stops Ray.
srun ray symmetric-run --address "$address:6379" --min-nodes "$SLURM_JOB_NUM_NODES" -- "$@"
