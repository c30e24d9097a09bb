"""Start a peer for a person to talk to: python -m tests.peers NAME"""
from __future__ import annotations

import argparse
import select
import signal
import sys
import tempfile

from tests.peers import NAMES, Failed, missing, running

MINUTES = 10


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.peers", description="Runs another people's mail server on "
                                     f"loopback until standard input ends, or for {MINUTES} minutes.")
    parser.add_argument("name", choices=NAMES)
    name = parser.parse_args().name
    if reason := missing(name):
        print(f"{name} is not here: {reason}", file=sys.stderr)
        return 69
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # the server must not outlive us
    try:
        with running(name) as peer, tempfile.NamedTemporaryFile("w", suffix=".password") as secret:
            secret.write(peer.password + "\n")
            secret.flush()
            print(f"{peer.name} {peer.version}")
            for role, port in peer.ports.items():
                print(f"{role:12} {peer.host}:{port}")
            print(f"check with   --recipient {peer.recipient} --refused-recipient {peer.refused} "
                  f"--sender {peer.sender} --user {peer.user} --password-file {secret.name} --ca-file {peer.ca_file}")
            print(f"log          {peer.log}", flush=True)
            wait_for_the_end()
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def wait_for_the_end() -> None:
    """Until standard input ends, or the time is over."""
    deadline = MINUTES * 60
    while select.select([sys.stdin], [], [], deadline)[0] and sys.stdin.readline():
        pass


if __name__ == "__main__":
    sys.exit(main())
