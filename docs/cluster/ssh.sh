#!/bin/bash
# Start Ray on machines that are reached by SSH, run commands on them, and stop Ray again.
# Run it on the first machine of the cluster, in the working folder (on storage that all machines share):
#   docs/cluster/ssh.sh "HOST HOST ..." COMMAND [ARGUMENT ...]
#   docs/cluster/ssh.sh "node2 node3" dvc repro shards
# HOSTs are the other machines. VENV is the environment with this project, at the same path everywhere (default: .venv here).
set -euo pipefail
hosts=$1
shift
bin=${VENV:-$PWD/.venv}/bin
port=${PORT:-6379}
here=${ADDRESS:-$(hostname -I | cut -d ' ' -f 1)}
export RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 RAY_AUTH_MODE=token

# Ray refuses strangers by a secret, ~/.ray/auth_token, which must be the same on all machines.
token=$("$bin/ray" get-auth-token --generate 2>/dev/null)
stop() {
    for host in $hosts; do ssh "$host" "'$bin/ray' stop" || true; done
    "$bin/ray" stop
}
trap stop EXIT

"$bin/ray" start --head --node-ip-address "$here" --port "$port" --include-dashboard false --disable-usage-stats
for host in $hosts; do
    echo "$token" | ssh "$host" "umask 077; mkdir -p ~/.ray; cat > ~/.ray/auth_token; cd '$PWD'; \
        RAY_worker_niceness=0 RAY_AUTH_MODE=token '$bin/ray' start --address '$here:$port' --disable-usage-stats"
done
RAY_ADDRESS=$here:$port PATH=$bin:$PATH "$@"
