#!/usr/bin/env bash
# The simulated stream of a cluster: nights of alerts, one after the other, each made and then sent at a rate. Run by `deploy/dev cluster`
# and by docker-compose.yaml, in a directory of its own; a stream that was killed goes on where it was.
#
#   stream.sh PROGRAMS BROKERS TOPIC RATE ALERTS NIGHTS
set -euo pipefail

readonly PROGRAMS=$1 BROKERS=$2 TOPIC=$3 RATE=$4 ALERTS=$5 NIGHTS=$6
# A program that runs in the foreground would keep the shell from its signal.
trap 'kill "$RUNNING" 2>/dev/null || true; wait; exit 0' INT TERM
RUNNING=

run() {
    setpriv --pdeathsig KILL "$@" &
    RUNNING=$!
    wait "$RUNNING"
}

night=1
[[ ! -s night ]] || night=$(<night)
while ((night <= NIGHTS)); do
    # The same seed gives the same bytes, and boomctl sends no packet of an archive twice.
    archive=night-$night.tar.gz
    if [[ ! -e $archive ]]; then
        run "$PROGRAMS/boom-node" simulate --alerts "$ALERTS" --seed "$night" --out "new-$archive"
        mv -- "new-$archive" "$archive"
    fi
    until run "$PROGRAMS/boomctl" produce "$archive" --topic "$TOPIC" --rate "$RATE" --brokers "$BROKERS"; do
        echo "the night $night is not sent yet: it is tried again" >&2
        run sleep 2
    done
    rm -- "$archive"
    night=$((night + 1))
    echo "$night" >night
done
echo "all $NIGHTS nights are sent"
