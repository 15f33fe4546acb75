#!/usr/bin/env python3
"""What the shell can not do for `deploy/dev up`: choose ports, and ask servers in their own protocols whether they serve.

Called by deploy/lib/servers.sh; starts and stops nothing. It needs nothing but Python, and no driver that retries and waits by itself.
"""

import fcntl
import http.client
import json
import os
import random
import socket
import struct
import sys
import time

LOOPBACK = "127.0.0.1"
# How long one question may take.
TIMEOUT = 2.0


class NotYet(Exception):
    """The server answers, and does not serve yet."""


def etcd(port):
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/health")
        health = json.load(connection.getresponse())
    finally:
        connection.close()
    if health.get("health") != "true":
        raise NotYet(f"its health is {health}")


def valkey(port):
    with socket.create_connection((LOOPBACK, port), TIMEOUT) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(200)
    # While it loads its data it says so.
    if answer != b"+PONG\r\n":
        raise NotYet(f"to PING it says {answer.decode(errors='replace').strip()!r}")


def kafka(port):
    # Metadata (3), version 4, of no topic: the brokers that are registered and not fenced, and the cluster's controller.
    answer = kafka_call(port, 3, 4, struct.pack(">i?", 0, False))
    _throttled, brokers = struct.unpack_from(">ii", answer)
    if brokers == 0:
        raise NotYet("no broker is registered")


def kafka_sasl(port):
    # SaslHandshake (17), version 1: whether the mechanism that subscribers use is offered.
    (error,) = struct.unpack_from(">h", kafka_call(port, 17, 1, kafka_string("SCRAM-SHA-512")))
    if error != 0:
        raise NotYet(f"SCRAM-SHA-512 is refused with error {error}")


def kafka_call(port, api, version, body):
    """The body of the answer to one request."""
    request = struct.pack(">hhi", api, version, 0) + kafka_string("boom-ask") + body
    with socket.create_connection((LOOPBACK, port), TIMEOUT) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        stream = connection.makefile("rb")
        (length,) = struct.unpack(">i", stream.read(4))
        return stream.read(length)[4:]


def kafka_string(text):
    return struct.pack(">h", len(text)) + text.encode()


def mongodb(port):
    hello = mongodb_call(port, {"hello": 1})
    if b"\x08isWritablePrimary\0\1" in hello:
        return
    if b"\x08isreplicaset\0\1" in hello:
        # A new server, whose replica set is yet to be made.
        members = [{"_id": 0, "host": f"{LOOPBACK}:{port}"}]
        answer = mongodb_call(port, {"replSetInitiate": {"_id": "rs0", "members": members}})
        _, refused, reason = answer.partition(b"\x02errmsg\0")
        if refused:
            raise NotYet(f"its replica set can not be made: {reason[4:].split(bytes(1))[0].decode()}")
    raise NotYet("it is no primary")


def mongodb_call(port, command):
    """The answer to one command, as an OP_MSG (2013) with its BSON as it came: fields are looked for by type and name."""
    message = struct.pack("<iB", 0, 0) + bson(command | {"$db": "admin"})
    with socket.create_connection((LOOPBACK, port), TIMEOUT) as connection:
        connection.sendall(struct.pack("<iiii", 16 + len(message), 1, 0, 2013) + message)
        stream = connection.makefile("rb")
        (length,) = struct.unpack("<i", stream.read(4))
        return stream.read(length - 4)


def bson(document):
    body = b""
    for name, value in document.items():
        if isinstance(value, list):
            kind, encoded = 4, bson({str(index): item for index, item in enumerate(value)})
        elif isinstance(value, dict):
            kind, encoded = 3, bson(value)
        elif isinstance(value, str):
            kind, encoded = 2, struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0"
        else:
            kind, encoded = 16, struct.pack("<i", value)
        body += bytes([kind]) + name.encode() + b"\0" + encoded
    return struct.pack("<i", len(body) + 5) + body + b"\0"


QUESTIONS = {"etcd": etcd, "kafka": kafka, "kafka_sasl": kafka_sasl, "mongodb": mongodb, "valkey": valkey}


def why_not(name, port):
    """None when the server serves, else what is the matter."""
    try:
        QUESTIONS[name](port)
    except (OSError, ValueError, http.client.HTTPException, struct.error) as error:
        return f"it does not answer: {error}"
    except NotYet as error:
        return str(error)
    return None


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def now(servers):
    """Prints NAME and what is the matter with it, or nothing, for each NAME=PORT."""
    for server in servers:
        name, port = server.split("=")
        print(name, why_not(name, int(port)) or "")


def wait(seconds, servers):
    """Returns when each NAME=PORT=PID serves; ends with 1 when one ended or does not serve in time, and prints NAME and why."""
    deadline = time.monotonic() + float(seconds)
    waiting = [(name, int(port), pid) for name, port, pid in (server.split("=") for server in servers)]
    while waiting:
        reasons = [(name, port, pid, why_not(name, port)) for name, port, pid in waiting]
        waiting = [(name, port, pid) for name, port, pid, reason in reasons if reason is not None]
        ended = [name for name, _, pid in waiting if not alive(pid)]
        late = time.monotonic() > deadline
        for name, _, _, reason in reasons:
            if name in ended:
                print(name, "it ended by itself")
            elif late and reason is not None:
                print(name, f"after {seconds} s {reason}")
        if ended or (late and waiting):
            sys.exit(1)
        if waiting:
            time.sleep(0.05)


def free(servers):
    """Ends with 1 and names the ports that somebody else has, of NAME=PORT."""
    taken = [server for server in servers if not can_be_bound(int(server.split("=")[1]))]
    if taken:
        print(*taken)
        sys.exit(1)


def ports(registry, file, names):
    """Writes a line NAME=PORT each to the file, of ports that are free and that no other set remembers as its own.

    A set's ports must be free when one of its servers is started again, so they are none of those that the system hands out by
    itself, and a set that is down keeps them: the registry holds for each port a link to the file of the set that has it.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as handed_out:
        low, high = (int(number) for number in handed_out.read().split())
    candidates = [port for port in range(15000, 32000) if not low <= port <= high] or list(range(15000, 32000))
    os.makedirs(registry, exist_ok=True)
    with open(os.path.join(registry, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in os.scandir(registry):
            if entry.is_symlink() and not os.path.exists(entry.path):
                os.unlink(entry.path)
        random.shuffle(candidates)
        chosen = {}
        for name in names:
            while (port := candidates.pop()) and (os.path.lexists(claim(registry, port)) or not can_be_bound(port)):
                pass
            os.symlink(file, claim(registry, port))
            chosen[name] = port
        with open(file + ".new", "w") as written:
            written.writelines(f"{name}={port}\n" for name, port in chosen.items())
        os.rename(file + ".new", file)


def claim(registry, port):
    return os.path.join(registry, str(port))


def can_be_bound(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def main(command, *arguments):
    if command == "ports":
        ports(arguments[0], arguments[1], arguments[2:])
    elif command == "free":
        free(arguments)
    elif command == "wait":
        wait(arguments[0], arguments[1:])
    elif command == "now":
        now(arguments)
    else:
        sys.exit(f"ask.py: there is no command {command}")


if __name__ == "__main__":
    main(*sys.argv[1:])
