# shellcheck shell=bash
# `deploy/dev cluster`: a whole cluster on loopback, three coordinators and two nodes on a set of real servers, with a simulated stream. It
# lasts as long as the command. Sourced by deploy/dev; sets, and how their processes are started and ended, stand in servers.sh and sets.sh.
#
# DIR/cluster holds `ports`, the configuration files, and for each process a directory with its `log` and `process`, as servers have.

readonly COORDINATORS=(coordinator-1 coordinator-2 coordinator-3) NODES=(node-1 node-2)
readonly TOPIC=ztf_simulated ROUND=1000 ROUNDS=20
# Alerts a second of the simulated stream.
readonly RATE=${BOOM_CLUSTER_RATE:-20}

cluster() {
    read_arguments "" --dir "$CACHE/cluster" "$@"
    at_most 0 "${REST[@]}"
    [[ $RATE =~ ^[1-9][0-9]{0,3}$ ]] || misused "BOOM_CLUSTER_RATE is \`$RATE\`: a number of alerts a second from 1 to 9999 is wanted"
    need_servers "${SERVERS[@]}"
    need_programs
    open_set
    attach end_cluster
    start_servers "${SERVERS[@]}"
    configure
    start_cluster
    exec {LOCK}>&-
    print_cluster
    local name
    while read -r name <&"$CONTROL"; do launch "$name" || true; done
    exit 0
}

need_programs() {
    need_compiler
    need_cargo
    step "building the programs (the first time takes some minutes)"
    # The whole workspace, as the tests have it: another selection of packages would build most crates once more.
    cargo build "$PROFILE" --locked --quiet --workspace --bins --manifest-path "$ROOT/Cargo.toml"
}

## Configuration

configure() {
    local names=() name
    for name in "${COORDINATORS[@]}"; do names+=("$name" "$name.http"); done
    names+=("${NODES[@]}")
    mkdir -p "$DIR/cluster"
    [[ -e $DIR/cluster/ports ]] || "${ASK[@]}" ports "$CACHE/ports" "$DIR/cluster/ports" "${names[@]}"
    read_ports "$DIR/cluster/ports"
    GRPC=()
    for name in "${COORDINATORS[@]}"; do GRPC+=("http://127.0.0.1:${PORTS[$name]}"); done
    for name in "${COORDINATORS[@]}"; do configure_coordinator "$name" >"$DIR/cluster/$name.toml"; done
    for name in "${NODES[@]}"; do configure_node "$name" >"$DIR/cluster/$name.toml"; done
    configure_boomctl >"$DIR/cluster/boomctl.toml"
}

# A list of the coordinators, as TOML writes it.
coordinators() {
    printf '['
    printf '"%s", ' "${GRPC[@]}"
    printf ']'
}

# toml TEXT: as a string of TOML.
toml() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

configure_coordinator() {
    cat <<TOML
name = "$1"

[grpc]
listen = "127.0.0.1:${PORTS[$1]}"

[http]
listen = "127.0.0.1:${PORTS[$1.http]}"

[etcd]
endpoints = ["$(address etcd)"]

[kafka.main]
brokers = "$(address kafka)"

[streams.ztf]
survey = "ZTF"
cluster = "main"
topics = "$TOPIC"
start = "earliest"
TOML
}

configure_node() {
    cat <<TOML
[node]
name = "$1"
state = "state"
http = "127.0.0.1:${PORTS[$1]}"
cores = 1
filters = $(toml "$ROOT/deploy/filters")

[coordinators]
addresses = $(coordinators)

[kafka.main]
brokers = "$(address kafka)"

[output]
cluster = "main"
TOML
}

configure_boomctl() {
    cat <<TOML
[control]
coordinators = $(coordinators)

[kafka]
brokers = "$(address kafka)"
TOML
}

## Processes

# program_of NAME: how a process of the cluster is started, in its own directory. Sets COMMAND.
program_of() {
    local programs=$CARGO_TARGET_DIR/release
    case $1 in
        coordinator-*) COMMAND=("$programs/boom-coordinator" run --config "../$1.toml") ;;
        node-*) COMMAND=(env "BOOM_MONGODB_URI=$(address mongodb)" "BOOM_VALKEY_URI=$(address valkey)" "$programs/boom-node" serve --config "../$1.toml") ;;
        stream) COMMAND=(bash "$ROOT/deploy/lib/stream.sh" "$programs" "$(address kafka)" "$TOPIC" "$RATE" "$ROUND" "$ROUNDS") ;;
    esac
}

start_cluster() {
    local name taken wanted=()
    for name in "${COORDINATORS[@]}"; do wanted+=("$name=${PORTS[$name]}" "$name.http=${PORTS[$name.http]}"); done
    for name in "${NODES[@]}"; do wanted+=("$name=${PORTS[$name]}"); done
    taken=$("${ASK[@]}" free "${wanted[@]}") || fail "other processes listen on ports of this cluster: $taken; end them, or take another --dir"
    step "starting ${COORDINATORS[*]} ${NODES[*]}"
    for name in "${COORDINATORS[@]}" "${NODES[@]}" stream; do
        mkdir -p "$DIR/cluster/$name"
        rm -f -- "$DIR/cluster/$name/process"
        launch "cluster/$name"
    done
    for name in "${COORDINATORS[@]}"; do is_ready "$name" "${PORTS[$name.http]}"; done
    for name in "${NODES[@]}"; do is_ready "$name" "${PORTS[$name]}"; done
}

# is_ready NAME PORT: waits until it says so; else the end of its log, and the end of this command.
is_ready() {
    within "$PATIENCE" ready_or_ended "$1" "$2" && says_ready "$2" && return
    step "the end of $DIR/cluster/$1/log"
    tail -n 20 -- "$DIR/cluster/$1/log" >&2
    fail "$1 does not become ready: what it says stands above"
}

ready_or_ended() { says_ready "$2" || { [[ -e $DIR/cluster/$1/process ]] && gone "$DIR/cluster/$1/process"; }; }

says_ready() {
    local line
    line=$(
        exec 2>/dev/null
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf 'GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
        read -r -t 2 line <&3 && printf '%s' "$line"
    ) && [[ $line == *" 200 "* ]]
}

print_cluster() {
    local name
    print_addresses "${SERVERS[@]}"
    for name in "${COORDINATORS[@]}"; do
        printf '%-14s http://127.0.0.1:%s  metrics and http_sd http://127.0.0.1:%s\n' "$name" "${PORTS[$name]}" "${PORTS[$name.http]}"
    done
    for name in "${NODES[@]}"; do printf '%-14s metrics http://127.0.0.1:%s\n' "$name" "${PORTS[$name]}"; done
    printf '%-14s %s alerts a second to the topic %s; results in boom.results; logs in %s/NAME/log\n' stream "$RATE" "$TOPIC" "$DIR/cluster"
    # shellcheck disable=SC2016 # the shell into which it is pasted expands PATH
    printf '\nTry in another terminal (Ctrl-C here ends it all):\n  export BOOM_BOOMCTL_CONFIG=%q PATH=%q:$PATH; boomctl status; boomctl nodes; boomctl tail boom.results --from earliest --count 3\n' \
        "$DIR/cluster/boomctl.toml" "$CARGO_TARGET_DIR/release"
}

# The stream and the nodes leave while there is somebody whom they can tell.
end_cluster() {
    local status=$?
    trap '' INT TERM HUP PIPE
    step "ending the cluster"
    end_programs stream "${NODES[@]}"
    end_programs "${COORDINATORS[@]}"
    end_attached "$status"
}

# end_programs NAME...: asks them to end, and kills those that do not.
end_programs() {
    local name
    for name in "$@"; do
        signal TERM "$DIR/cluster/$name/process"
        signal CONT "$DIR/cluster/$name/process"
    done
    within $((3 * GRACE)) programs_gone "$@" || for name in "$@"; do signal KILL "$DIR/cluster/$name/process"; done
    within "$GRACE" programs_gone "$@" || warn "$PID of $DIR/cluster does not end: it hangs in the kernel"
    for name in "$@"; do rm -f -- "$DIR/cluster/$name/process"; done
}

programs_gone() {
    local name
    for name in "$@"; do gone "$DIR/cluster/$name/process" || return 1; done
}
