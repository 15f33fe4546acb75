# shellcheck shell=bash
# `deploy/dev demo`: a simulated night through all stages, then a look at one result. Sourced by deploy/dev.

# Where the demo goes: DIR; beside it when a demo has ended there. A demo that was interrupted goes on in its own.
demo_directory() {
    local wanted=$1 number=2
    local directory=$wanted
    while [[ -e $directory/.demo-ended ]]; do
        directory=$wanted-$number
        number=$((number + 1))
    done
    printf '%s\n' "$directory"
}

# A result worth looking at: the last of a filter for transients, whose light curve is the longest by then, else the last of all.
chosen_result() {
    awk '/"filter":"young_rising_near_galaxy"/ { chosen = $0 } END { print chosen == "" ? $0 : chosen }' "$1"
}

# field NAME LINE: the value of that key in a line of JSON.
field() {
    sed -n "s/^.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" <<<"$2"
}

# Shows a command as one would type it, then runs it; where a terminal gives a drawing and a pipe the whole document, a pipe gets its head.
show() {
    printf '\n%s$ %s%s\n' "$BOLD" "$*" "$PLAIN"
    local program=$1
    shift
    if [[ -t 1 ]]; then
        "$CARGO_TARGET_DIR/release/$program" "$@"
        return
    fi
    local document
    document=$("$CARGO_TARGET_DIR/release/$program" "$@")
    if ((${#document} > 600)); then document="${document:0:600} … and so on: on a terminal it is drawn"; fi
    printf '%s\n' "$document"
}

demo() {
    local out status=0 result object candid
    out=$(demo_directory "${1:-boom-demo}")
    need_compiler
    need_cargo
    if [[ $out != "${1:-boom-demo}" ]]; then
        step "a demo has ended in ${1:-boom-demo}; this one goes to $out"
    elif [[ -e $out ]]; then
        step "a demo was interrupted in $out: it goes on there"
    fi
    step "building boom-node and boomctl (the first time takes some minutes)"
    cargo build "$PROFILE" --locked --quiet --manifest-path "$ROOT/Cargo.toml" -p boom-node -p boomctl
    printf '\n%s$ boom-node standalone --out %s%s\n' "$BOLD" "$out" "$PLAIN"
    "$CARGO_TARGET_DIR/release/boom-node" standalone --out "$out" || status=$?
    # 3: it ran to its end, and some packets are in the dead letters.
    [[ $status == 0 || $status == 3 ]] || exit "$status"
    touch "$out/.demo-ended"
    if [[ -s $out/results.jsonl ]]; then
        result=$(chosen_result "$out/results.jsonl")
        object=$(field objectId "$result")
        candid=$(field candid "$result")
        show boomctl object "$object" --store "$out/store"
        show boomctl cutouts "$candid" --store "$out/store" --png "$out/stamps"
    fi
    printf '\nThe programs are in %s\nREADME.md says how to run this on your own alerts.\n' "$CARGO_TARGET_DIR/release"
}
