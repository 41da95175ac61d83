"""Xray-core's command line over the real core of the wheel `Xray-core`, for tests.

A real installation has the real binary. The wheel holds the same Go core as a Python module without a command line;
this gives it the part of one that Portmeter calls: `version`, `run -c FILE` and `run -test -c FILE`.

A core that accepts its configuration goes on to listen and runs until it is signalled; one that does not ends with
status 23. So `-test` starts it in network and user namespaces of its own, where no port is taken and nothing it does
can be seen, and waits for whichever comes first.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time

VERSION = "26.10.10"
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
CONFIGURATION_REFUSED = 23
TEST_TIMEOUT_SECONDS = 20


def main(arguments):
    if arguments[:1] == ["version"]:
        print(f"Xray {VERSION} (Xray, Penetrates Everything.) wheel (go linux/amd64)")
        print("A unified platform for anti-censorship.")
        return 0
    is_test = "-test" in arguments
    words = [word for word in arguments if word != "-test"]
    if len(words) != 3 or words[0] != "run" or words[1] not in ("-c", "-config"):
        print(f"xray {' '.join(arguments)}: unknown command", file=sys.stderr)
        return 2
    with open(words[2], encoding="utf-8") as file:
        text = file.read()
    return test(text) if is_test else run(text)


def run(text):
    import xray

    xray.startFromJSON(text)
    return 0


def test(text):
    """Starts the core where nothing can see it, until it listens on every port of the configuration or ends."""
    try:
        wanted = ports(json.loads(text))
    except (ValueError, AttributeError, TypeError) as error:
        print(f"Failed to start: main: failed to load config files: {error}", file=sys.stderr)
        return CONFIGURATION_REFUSED
    child = os.fork()
    if child == 0:
        isolate()
        os._exit(run(text))
    deadline = time.monotonic() + TEST_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            print("Failed to start: the core refuses this configuration", file=sys.stderr)
            return os.waitstatus_to_exitcode(status) or CONFIGURATION_REFUSED
        if wanted <= listening(child):
            break
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("Configuration OK.")
    return 0


def ports(configuration):
    numbers = {inbound.get("port") for inbound in configuration.get("inbounds") or []}
    address = (configuration.get("api") or {}).get("listen", "")
    numbers.add(int(address.rpartition(":")[2])) if ":" in address else None
    return {number for number in numbers if isinstance(number, int)}


def isolate():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    for family in ("ipv4", "ipv6"):
        with open(f"/proc/sys/net/{family}/ip_nonlocal_bind", "w", encoding="ascii") as file:
            file.write("1")


def listening(process):
    found = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{process}/net/{table}", encoding="ascii") as file:
            for line in file.read().splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A":
                    found.add(int(columns[1].rpartition(":")[2], 16))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
