# shellcheck shell=bash
# A set of servers on disk: its directory, its ports, and which processes are its own. Sourced by deploy/dev; servers.sh starts and ends them.
#
# A set's directory DIR holds `ports` (chosen once, and what makes it a set), for each server a directory with `data`, `log` and `process`
# (its process, when it was started), and `servers.env` for those who use it. An attached set also has `supervisor` (the process
# that its servers end with) and `control`, the pipe through which that process is told which server to start.

readonly SERVERS=(etcd kafka mongodb valkey)
readonly PORT_NAMES=(etcd etcd_peer kafka kafka_sasl kafka_tls kafka_controller mongodb valkey)
declare -A PORTS=()

# within SECONDS COMMAND...: true as soon as COMMAND is, false when it still is not after so long.
within() {
    local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
    shift
    until "$@"; do
        ((${EPOCHREALTIME/[.,]/} < deadline)) || return 1
        sleep 0.05
    done
}

## Processes: a file names one by its id and its start, since an id alone may be another's by now.

# stat_of PID: sets STAT to the fields of /proc/PID/stat from the third, the state, on; false when there is no such process.
stat_of() {
    local line
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    # The second is its name, in brackets, and may hold anything.
    read -ra STAT <<<"${line##*) }"
}

# record PID FILE
record() {
    stat_of "$1"
    printf '%s %s\n' "$1" "${STAT[19]}" >"$2.new"
    mv -- "$2.new" "$2"
}

dead() { ! stat_of "$1" || [[ ${STAT[0]} == [ZX] ]]; }

# runs FILE: whether the process of that file is there, stopped or not. Sets PID.
runs() {
    local start
    { read -r PID start <"$1"; } 2>/dev/null || return 1
    ! dead "$PID" && [[ ${STAT[19]} == "$start" ]]
}

gone() { ! runs "$1"; }
stopped() { runs "$1" && [[ ${STAT[0]} == T ]]; }
continued() { ! stopped "$1"; }

# signal NAME FILE: to the process of that file, if it is there.
signal() {
    ! runs "$2" || kill "-$1" "$PID" 2>/dev/null || true
}

## Sets

read_ports() {
    local name port
    while IFS='=' read -r name port; do PORTS[$name]=$port; done <"$1"
}

# Makes the set in DIR if there is none, and holds it against other commands until this one ends.
open_set() {
    if [[ -d $DIR && ! -e $DIR/ports ]]; then
        [[ -z $(find "$DIR" -mindepth 1 -maxdepth 1 ! -name lock ! -name 'ports.new' -print -quit) ]] ||
            fail "$DIR is no set of servers and holds other things: give \`--dir\` a directory of its own"
    fi
    mkdir -p -- "$DIR" || fail "$DIR can not be made"
    DIR=$(cd -- "$DIR" && pwd -P)
    hold_set
    [[ -e $DIR/ports ]] || "${ASK[@]}" ports "$CACHE/ports" "$DIR/ports" "${PORT_NAMES[@]}"
    read_ports "$DIR/ports"
    local name
    for name in "${PORT_NAMES[@]}"; do
        [[ -n ${PORTS[$name]:-} ]] || fail "the set in $DIR is of an earlier version and has no port for $name: \`deploy/dev down --remove\` with the same --dir removes it"
    done
}

# The set in DIR, which must be there.
find_set() {
    [[ -e $DIR/ports ]] || fail "there is no set of servers in $DIR: \`deploy/dev up --dir DIR\` makes one"
    DIR=$(cd -- "$DIR" && pwd -P)
    read_ports "$DIR/ports"
}

hold_set() {
    while :; do
        exec {LOCK}>"$DIR/lock"
        flock --nonblock "$LOCK" || {
            step "waiting for another command on $DIR"
            flock "$LOCK"
        }
        # The other may have removed the set, and the lock with it.
        [[ ! $DIR/lock -ef /proc/$$/fd/$LOCK ]] || return 0
        exec {LOCK}>&-
        mkdir -p -- "$DIR"
    done
}

# Sets MEMBERS to the servers that the set has.
members() {
    local name
    MEMBERS=()
    for name in "${SERVERS[@]}"; do
        [[ ! -d $DIR/$name ]] || MEMBERS+=("$name")
    done
}

attached() { runs "$DIR/supervisor"; }

address() {
    case $1 in
        etcd) echo "http://127.0.0.1:${PORTS[etcd]}" ;;
        mongodb) echo "mongodb://127.0.0.1:${PORTS[mongodb]}/?replicaSet=rs0" ;;
        valkey) echo "redis://127.0.0.1:${PORTS[valkey]}" ;;
        *) echo "127.0.0.1:${PORTS[$1]}" ;;
    esac
}

# The addresses, processes and data of the servers that run, a plain KEY=VALUE a line: no quotes, and a value goes to the end of its line.
write_env() {
    local name
    members
    for name in "${MEMBERS[@]}"; do
        runs "$DIR/$name/process" || continue
        printf 'BOOM_%s=%s\n' "${name^^}" "$(address "$name")"
        [[ $name != kafka ]] || printf 'BOOM_KAFKA_SASL=%s\nBOOM_KAFKA_TLS=%s\nBOOM_KAFKA_AUTHORITY=%s\n' \
            "$(address kafka_sasl)" "$(address kafka_tls)" "$DIR/kafka/authority.pem"
        printf 'BOOM_%s_PID=%s\nBOOM_%s_DATA=%s\n' "${name^^}" "$PID" "${name^^}" "$DIR/$name/data"
    done >"$DIR/servers.env.new"
    mv -- "$DIR/servers.env.new" "$DIR/servers.env"
}

print_addresses() {
    local name
    for name in "$@"; do
        printf '%-8s %s\n' "$name" "$(address "$name")"
        [[ $name != kafka ]] || printf '%-8s %s  (SASL, SCRAM-SHA-512)\n%-8s %s  (TLS)\n' \
            '' "$(address kafka_sasl)" '' "$(address kafka_tls)"
    done
}
