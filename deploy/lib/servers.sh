# shellcheck shell=bash
# `deploy/dev up`, `down`, `status`, `logs` and `server`: sets of real servers on loopback, each in a directory of its own. Sourced by
# deploy/dev; what a set's directory holds and which processes are its own stands in sets.sh, how each program is started in programs.sh.

# Seconds: until a server serves, and until one that was asked to end is killed.
readonly PATIENCE=120 GRACE=5

# Reads the arguments of a command: --dir D and the options in ALLOWED, which are set to 1 in OPTION; the others go to REST.
# read_arguments ALLOWED ARGUMENTS...
read_arguments() {
    local allowed=" $1 "
    shift
    DIR=$CACHE/servers REST=()
    declare -gA OPTION=()
    while (($# > 0)); do
        case $1 in
            --dir)
                (($# > 1)) || misused "--dir wants a directory"
                DIR=$2
                shift
                ;;
            --dir=*) DIR=${1#--dir=} ;;
            -*)
                [[ $allowed == *" $1 "* ]] || misused "there is no option $1 here"
                OPTION[$1]=1
                ;;
            *) REST+=("$1") ;;
        esac
        shift
    done
    [[ -n $DIR ]] || misused "--dir wants a directory"
}

misused() {
    printf 'deploy/dev: %s; see deploy/dev help\n' "$1" >&2
    exit 2
}

# Refuses what is no server's name.
check_names() {
    local name
    for name in "$@"; do
        [[ $name != *' '* && " ${SERVERS[*]} " == *" $name "* ]] || misused "there is no server $name: there are ${SERVERS[*]}"
    done
}

## Starting

# start_servers NAME...: after it they serve; those that do already are left alone.
start_servers() {
    local name new=()
    for name in "$@"; do
        if runs "$DIR/$name/process"; then signal CONT "$DIR/$name/process"; else new+=("$name"); fi
    done
    ports_are_free "${new[@]}"
    for name in "${new[@]}"; do
        prepare "$name" "$DIR/$name"
        rm -f -- "$DIR/$name/process"
        # A server of an attached set must be its supervisor's child.
        if attached && [[ $PID != "$$" ]]; then order "$name"; else launch "$name"; fi
    done
    for name in "${new[@]}"; do
        within $((6 * GRACE)) test -e "$DIR/$name/process" || fail "$name can not be started: its log is $DIR/$name/log"
    done
    wait_for "$@"
    write_env
}

# Somebody else's server would answer in place of ours.
ports_are_free() {
    local wanted=() name port taken
    for name in "$@"; do
        for port in "${PORT_NAMES[@]}"; do
            [[ $port != "$name"* ]] || wanted+=("$port=${PORTS[$port]}")
        done
    done
    ((${#wanted[@]} == 0)) || taken=$("${ASK[@]}" free "${wanted[@]}") ||
        fail "other processes listen on ports of this set: $taken; end them, or make another set"
}

order() {
    printf '%s\n' "$1" 1<>"$DIR/control"
}

# launch NAME: starts it with nothing of this process: neither its session, its environment nor its open files (the lock, a caller's pipes).
launch() {
    local with_us=() log=$DIR/$1/log clean=(env -i "PATH=$PATH" "HOME=$HOME" LANG=C.UTF-8)
    # etcd 3.4 wants to be told that one means it.
    [[ $(uname -m) != aarch64 ]] || clean+=(ETCD_UNSUPPORTED_ARCH=arm64)
    # A server that is to end with this process; the shell sees that it has not ended before that was asked for.
    # shellcheck disable=SC2016 # that shell expands it
    ! attached || with_us=(setpriv --pdeathsig KILL sh -c '[ "$PPID" = "$0" ] && exec "$@"' "$$")
    if [[ -e $log && $(stat -c %s "$log") -gt 10000000 ]]; then mv -- "$log" "$log.old"; fi
    (
        cd -- "$DIR/$1"
        command_of "$1"
        record "$BASHPID" process
        close_files
        exec setsid "${with_us[@]}" "${clean[@]}" "${COMMAND[@]}"
    ) </dev/null >>"$log" 2>&1 &
    disown
}

close_files() {
    local file
    for file in "/proc/$BASHPID/fd"/*; do
        file=${file##*/}
        ((file <= 2)) || exec {file}>&-
    done
}

# wait_for NAME...: until each serves; else the end of its log, and the end of this command.
wait_for() {
    local name reason asked=() answer=$DIR/answer
    for name in "$@"; do
        runs "$DIR/$name/process" || true
        asked+=("$name=${PORTS[$name]}=$PID")
        [[ $name != kafka ]] || asked+=("kafka_sasl=${PORTS[kafka_sasl]}=$PID")
    done
    # In the background, since only a `wait` is interrupted by the signal that ends an attached set.
    setpriv --pdeathsig KILL "${ASK[@]}" wait "$PATIENCE" "${asked[@]}" >"$answer" &
    if wait "$!"; then
        rm -f -- "$answer"
        return
    fi
    while read -r name reason; do
        printf '\n%s: %s. The end of its log, %s:\n' "$name" "$reason" "$DIR/${name%_sasl}/log"
        tail -n 20 -- "$DIR/${name%_sasl}/log"
    done <"$answer" >&2
    write_env
    fail "not all servers of $DIR serve: why stands above. \`deploy/dev up\` with the same --dir tries again"
}

up() {
    read_arguments "--attached --remove" "$@"
    local names=("${REST[@]}")
    check_names "${names[@]}"
    [[ -z ${OPTION[--remove]:-} || -n ${OPTION[--attached]:-} ]] || misused "--remove goes with --attached: \`deploy/dev down --remove\` is for the others"
    ((${#names[@]} > 0)) || names=("${SERVERS[@]}")
    need_servers "${names[@]}"
    open_set
    if [[ -n ${OPTION[--attached]:-} ]]; then supervise "${names[@]}"; fi
    start_servers "${names[@]}"
    print_addresses "${names[@]}"
    step "their addresses for programs are in $DIR/servers.env; \`deploy/dev down\` with the same --dir ends them"
}

## An attached set

# attach END: this process becomes the set's supervisor, which END ends; from then on servers end with it, and it starts what is ordered.
attach() {
    local name
    members
    for name in "${MEMBERS[@]}"; do
        gone "$DIR/$name/process" || fail "the set in $DIR is up already: \`deploy/dev down\` with the same --dir ends it"
    done
    rm -f -- "$DIR/control"
    mkfifo -- "$DIR/control"
    exec {CONTROL}<>"$DIR/control"
    record "$$" "$DIR/supervisor"
    # shellcheck disable=SC2064 # the name of the function is what is to be expanded now
    trap "$1" EXIT
    trap 'exit 0' INT TERM HUP PIPE
}

# supervise NAME...: runs the set until standard input ends or a signal comes, and starts what `deploy/dev server start` orders meanwhile.
supervise() {
    attach end_attached
    # The input of what runs in the background is otherwise empty.
    exec {INPUT}<&0
    (
        close_files
        # shellcheck disable=SC2016 # that shell expands it
        exec setpriv --pdeathsig KILL sh -c 'while read -r _; do :; done; kill -TERM "$1"' boom-servers-watch "$$"
    ) <&"$INPUT" &
    start_servers "$@"
    exec {LOCK}>&-
    cat -- "$DIR/servers.env"
    echo ready
    local name
    while read -r name <&"$CONTROL"; do launch "$name" || true; done
    exit 0
}

# end_attached [STATUS]: of this command, by default that with which it was to end.
end_attached() {
    local status=${1:-$?}
    trap '' INT TERM HUP PIPE
    end_servers
    rm -f -- "$DIR/supervisor" "$DIR/control"
    [[ -z ${OPTION[--remove]:-} ]] || remove_set
    exit "$status"
}

## Ending

# Asks all servers of the set to end, and kills those that do not; one that is stopped has to go on for that.
end_servers() {
    local name
    members
    for name in "${MEMBERS[@]}"; do
        signal TERM "$DIR/$name/process"
        signal CONT "$DIR/$name/process"
    done
    if ! within "$GRACE" all_gone; then
        for name in "${MEMBERS[@]}"; do signal KILL "$DIR/$name/process"; done
        within "$GRACE" all_gone || fail "$PID, a server of $DIR, does not end: it hangs in the kernel"
    fi
    for name in "${MEMBERS[@]}"; do rm -f -- "$DIR/$name/process"; done
    rm -f -- "$DIR/servers.env"
}

all_gone() {
    local name
    for name in "${MEMBERS[@]}"; do
        gone "$DIR/$name/process" || return 1
    done
}

# Removes what a set consists of, and nothing else that somebody may have put there.
remove_set() {
    local name
    for name in "${SERVERS[@]}"; do rm -rf -- "${DIR:?}/$name"; done
    rm -rf -- "${DIR:?}/cluster"
    rm -f -- "$DIR"/{ports,supervisor,control,answer,lock,servers.env,servers.env.new}
    rmdir -- "$DIR" 2>/dev/null || warn "$DIR holds other things and stays"
}

down() {
    read_arguments "--remove" "$@"
    at_most 0 "${REST[@]}"
    find_set
    # Its supervisor ends the servers itself, also while they are starting, when it holds the set.
    if attached; then
        local supervisor=$PID
        signal TERM "$DIR/supervisor"
        # It takes its file away before it has ended.
        within $((3 * GRACE)) dead "$supervisor" || signal KILL "$DIR/supervisor"
    fi
    # It may have been told to remove the set.
    [[ -e $DIR/ports ]] || return 0
    hold_set
    end_servers
    rm -f -- "$DIR/supervisor" "$DIR/control"
    if [[ -n ${OPTION[--remove]:-} ]]; then remove_set; fi
}

## Looking

status() {
    read_arguments "" "$@"
    at_most 0 "${REST[@]}"
    find_set
    need_ask
    local name reason asked=() all=0
    members
    for name in "${MEMBERS[@]}"; do
        if gone "$DIR/$name/process"; then
            printf '%-8s does not run\n' "$name"
            all=1
        elif stopped "$DIR/$name/process"; then
            printf '%-8s is stopped by SIGSTOP, process %s; deploy/dev server cont %s lets it go on\n' "$name" "$PID" "$name"
            all=1
        else
            asked+=("$name=${PORTS[$name]}")
        fi
    done
    while read -r name reason; do
        runs "$DIR/$name/process" || PID=gone
        if [[ -n $reason ]]; then all=1; fi
        printf '%-8s %s  process %s  %s\n' "$name" "${reason:-serves}" "$PID" "$(address "$name")"
    done < <("${ASK[@]}" now "${asked[@]}")
    return "$all"
}

logs() {
    read_arguments "" "$@"
    at_most 1 "${REST[@]}"
    check_names "${REST[@]}"
    find_set
    local name
    members
    ((${#REST[@]} == 0)) || MEMBERS=("${REST[@]}")
    for name in "${MEMBERS[@]}"; do
        step "the end of $DIR/$name/log"
        tail -n 100 -- "$DIR/$name/log" || fail "the set in $DIR has no $name"
    done
}

# server ACTION NAME: what a test of faults does to one server of a running set, which keeps its ports and data.
server() {
    read_arguments "" "$@"
    ((${#REST[@]} == 2)) || misused "\`deploy/dev server\` wants an action and a server"
    local action=${REST[0]} name=${REST[1]}
    check_names "$name"
    find_set
    local process=$DIR/$name/process
    case $action in
        start)
            start_one "$name"
            return
            ;;
        kill | term | stop | cont) ;;
        *) misused "there is no action $action: there are kill, term, stop, cont and start" ;;
    esac
    runs "$process" || fail "$name of $DIR does not run"
    case $action in
        kill) signal KILL "$process" ;;
        term) signal TERM "$process" ;;
        stop) signal STOP "$process" ;;
        cont) signal CONT "$process" ;;
    esac
    case $action in
        kill | term) within "$PATIENCE" gone "$process" || fail "$name of $DIR does not end" ;;
        stop) within "$PATIENCE" stopped "$process" || fail "$name of $DIR does not stop" ;;
        cont) within "$PATIENCE" continued "$process" || fail "$name of $DIR does not go on" ;;
    esac
}

start_one() {
    [[ -d $DIR/$1 ]] || fail "the set in $DIR has no $1: \`deploy/dev up $1\` with the same --dir adds it"
    need_servers "$1"
    hold_set
    start_servers "$1"
}
