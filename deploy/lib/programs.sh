# shellcheck shell=bash
# The programs of the servers that a cluster needs: where each comes from, and how it is started. Sourced by deploy/dev; what is done with
# them stands in servers.sh.

readonly KAFKA_POM=$ROOT/deploy/servers/kafka.pom.xml
# The memory that two of them may take; the others need little.
readonly KAFKA_HEAP=${BOOM_KAFKA_HEAP:-512m}
readonly MONGODB_CACHE_GB=${BOOM_MONGODB_CACHE_GB:-1}

# need_servers NAME...: the programs of these servers, and what asks them whether they serve: sets ASK, ETCD, KAFKA, JAVA, MONGOD, VALKEY.
need_servers() {
    local name
    need_setpriv
    need_ask
    for name in "$@"; do
        case $name in
            etcd) need_etcd ;;
            kafka) need_kafka ;;
            mongodb) need_mongod ;;
            valkey) need_valkey ;;
        esac
    done
}

need_setpriv() {
    command -v setpriv >/dev/null || install_packages "setpriv, which lets a server end with its caller," util-linux
    setpriv --pdeathsig KILL true || fail "\`setpriv --pdeathsig\` does not work here: util-linux 2.33 or newer is wanted"
}

need_ask() {
    command -v python3 >/dev/null || install_packages "Python, which asks the servers whether they serve," python3
    local python
    # The program itself, where python3 is a script that looks for one.
    python=$(python3 -c 'import sys; print(sys.executable)') || fail "\`python3\` does not run here: what it says stands above"
    ASK=("$python" "$ROOT/deploy/servers/ask.py")
}

need_etcd() {
    command -v etcd >/dev/null || install_server "etcd" etcd-server
    ETCD=$(command -v etcd) || fail "the package etcd-server is installed, and there is still no \`etcd\` on PATH"
}

# Redis speaks the same as Valkey, and every Debian has it.
need_valkey() {
    command -v valkey-server >/dev/null || command -v redis-server >/dev/null || install_server "Valkey or Redis" redis-server
    VALKEY=$(command -v valkey-server || command -v redis-server) ||
        fail "the package redis-server is installed, and there is still no \`redis-server\` on PATH"
}

# Prometheus with promtool, for the tests of what it scrapes.
need_prometheus() {
    { command -v prometheus && command -v promtool; } >/dev/null || install_server "Prometheus" prometheus
    { command -v prometheus && command -v promtool; } >/dev/null ||
        fail "the package prometheus is installed, and there is still no \`prometheus\` and \`promtool\` on PATH"
}

need_openssl() {
    command -v openssl >/dev/null || install_packages "openssl, which makes certificates," openssl
}

# install_server REASON PACKAGE: a package that starts a server of its own, where there is a systemd.
install_server() {
    install_packages "$@"
    [[ ! -d /run/systemd/system ]] ||
        warn "the package $2 starts a server of its own, which BOOM does not use: \`systemctl disable --now ${2%-server}\` ends it"
}

need_java() {
    command -v java >/dev/null || install_packages "a Java runtime" "$(java_package)"
    JAVA=$(command -v java) || fail "a Java runtime is installed, and there is still no \`java\` on PATH"
    local version
    version=$("$JAVA" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    ((${version:-0} >= 17)) || fail "$JAVA is Java ${version:-(it does not say which)}, and Kafka wants 17 or newer: put one first on PATH"
}

java_package() {
    if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then echo openjdk-17-jre-headless; else echo default-jre-headless; fi
}

# Apache Kafka's server: $KAFKA with its jars, an empty formatted data directory, and an archive of its classes.
need_kafka() {
    need_java
    need_openssl
    in_cache "kafka-$(digest "$(cat "$KAFKA_POM" "$ROOT/deploy/servers/kafka.properties")")" make_kafka
    KAFKA=$IN_CACHE
}

# Maven keeps what it fetches in a repository of its own here, which goes with it.
make_kafka() {
    command -v mvn >/dev/null || install_packages "Maven, which fetches Kafka," maven
    command -v mvn >/dev/null || fail "the package maven is installed, and there is still no \`mvn\` on PATH"
    step "fetching Apache Kafka from Maven Central"
    mkdir -p "$1"
    mvn --quiet --batch-mode --file "$KAFKA_POM" "-Dmaven.repo.local=$1/repository" \
        dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$1/libs" >"$1/log" 2>&1 || {
        tail -n 20 "$1/log" >&2
        fail "Apache Kafka can not be had from Maven Central: is there a network? What Maven says stands above"
    }
    rm -rf -- "$1/repository" "$1/log"
    KAFKA=$1
    # Of no set: its ports are given back when the directory goes.
    "${ASK[@]}" ports "$CACHE/ports" "$1/ports" kafka kafka_sasl kafka_tls kafka_controller
    certify_kafka "$1/certificates"
    format_kafka "$1/formatted"
    archive_kafka "$1/formatted"
    rm -- "$1/ports"
}

# The key and the certificate of its TLS listener, which is its own authority. They prove nothing to anybody but to tests on loopback.
certify_kafka() (
    umask 077
    mkdir -p "$1"
    cd "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout key.pem -out authority.pem 2>log || {
        tail -n 20 log >&2
        fail "openssl can not make a certificate: what it says stands above"
    }
    cat key.pem authority.pem >kafka.pem
    rm -- key.pem log
)

# A data directory is formatted once, in the cache; each server gets a copy with names of its own, which takes no JVM. The user of the SASL
# listener has a password that everybody may know: it opens what loopback has open anyway.
format_kafka() (
    write_kafka_configuration "$1" "$KAFKA/ports"
    cd "$1"
    kafka_java kafka.tools.StorageTool format --cluster-id "$(kafka_uuid)" --config server.properties \
        --add-scram "SCRAM-SHA-512=[name=boom,password=loopback]"
    "${COMMAND[@]}" >log 2>&1 || {
        tail -n 20 log >&2
        fail "Kafka's StorageTool can not format a directory: what it says stands above"
    }
)

# One run writes down which classes it loads: a start then takes a third of the time. A start does without, if need be.
archive_kafka() (
    cp -r "$1" "$KAFKA/once"
    cd "$KAFKA/once"
    read_ports "$KAFKA/ports"
    kafka_java "-XX:ArchiveClassesAtExit=$KAFKA/classes.jsa" kafka.Kafka server.properties
    setpriv --pdeathsig KILL "${COMMAND[@]}" >log 2>&1 &
    if "${ASK[@]}" wait "$PATIENCE" "kafka=${PORTS[kafka]}=$!" >/dev/null; then kill "$!"; else kill -KILL "$!"; fi
    wait "$!" || true
    [[ -s $KAFKA/classes.jsa ]] || warn "Kafka's classes can not be archived; every start of it will take some seconds more"
    cd "$KAFKA"
    rm -rf -- once
)

# kafka_java ARGUMENTS...: Java with Kafka's classes, to be run in the server's directory. Sets COMMAND. The second compiler takes more of a small
# machine in the minutes that a set lives than its code gives back.
kafka_java() {
    COMMAND=("$JAVA" "-Xmx$KAFKA_HEAP" -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true "-Djava.io.tmpdir=$PWD"
        -Dlog4j2.configurationFile=log4j2.properties -cp "$KAFKA/libs/*")
    [[ ! -s $KAFKA/classes.jsa ]] || COMMAND+=("-XX:SharedArchiveFile=$KAFKA/classes.jsa")
    COMMAND+=("$@")
}

# write_kafka_configuration DIRECTORY PORTS: its properties with the ports of that file.
write_kafka_configuration() {
    mkdir -p "$1"
    read_ports "$2"
    sed -e "s/@KAFKA@/${PORTS[kafka]}/g" -e "s/@KAFKA_SASL@/${PORTS[kafka_sasl]}/g" \
        -e "s/@KAFKA_TLS@/${PORTS[kafka_tls]}/g" -e "s/@KAFKA_CONTROLLER@/${PORTS[kafka_controller]}/g" "$ROOT/deploy/servers/kafka.properties" >"$1/server.properties"
    cp -- "$ROOT/deploy/servers/log4j2.properties" "$1/log4j2.properties"
    cp -- "$KAFKA/certificates"/*.pem "$1"
}

# A UUID as Kafka writes them: 16 bytes in URL-safe base64; the first letter says that it begins with no dash.
kafka_uuid() {
    printf 'B%s' "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
}

# prepare NAME DIRECTORY: what a server of the set needs before its first start, and its configuration; DIRECTORY/data is whole or not there.
prepare() {
    local name=$1 directory=$2
    if [[ $name == kafka ]]; then write_kafka_configuration "$directory" "$DIR/ports"; fi
    [[ ! -d $directory/data ]] || return 0
    rm -rf -- "$directory/data.new"
    mkdir -p "$directory/data.new"
    if [[ $name == kafka ]]; then
        cp -r "$KAFKA/formatted/data/." "$directory/data.new"
        sed -i -e "s/^cluster.id=.*/cluster.id=$(kafka_uuid)/" -e "s/^directory.id=.*/directory.id=$(kafka_uuid)/" \
            "$directory/data.new/meta.properties"
    fi
    mv -- "$directory/data.new" "$directory/data"
}

# command_of NAME: how it is started, in its own directory, so that no path needs an escape. Sets COMMAND.
command_of() {
    local client=http://127.0.0.1:${PORTS[etcd]} peer=http://127.0.0.1:${PORTS[etcd_peer]}
    case $1 in
        # Its election timeout bounds the shortest lease (1.5 times as long): with the usual one no lease is under 2 s.
        etcd)
            COMMAND=("$ETCD" --name boom --data-dir data --logger zap --heartbeat-interval 50 --election-timeout 500
                --listen-client-urls "$client" --advertise-client-urls "$client"
                --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "boom=$peer")
            ;;
        kafka) kafka_java kafka.Kafka server.properties ;;
        mongodb)
            COMMAND=("$MONGOD" --dbpath data --port "${PORTS[mongodb]}" --bind_ip 127.0.0.1 --nounixsocket --replSet rs0
                --wiredTigerCacheSizeGB "$MONGODB_CACHE_GB" --wiredTigerJournalCompressor none
                --setParameter diagnosticDataCollectionEnabled=false)
            ;;
        # Nothing in it has to outlive it: owners do again what it loses.
        valkey)
            COMMAND=("$VALKEY" --port "${PORTS[valkey]}" --bind 127.0.0.1 --dir data --daemonize no --save '' --appendonly no)
            ;;
        cluster/*) program_of "${1#cluster/}" ;;
    esac
}
