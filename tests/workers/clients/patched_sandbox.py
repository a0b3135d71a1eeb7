"""Run by `python -m gevent.monkey`: a step is cancelled while its command runs."""

import os
import sys
from pathlib import Path

import gevent

from models.errors import LeaseLost
from workers.clients import sandbox


def main(workspace: Path) -> str:
    argv = ["bash", "-c", "touch begun; sleep 1; touch late"]
    step = gevent.spawn(sandbox.run, argv, workspace, timeout=60)
    while not (workspace / "begun").exists():
        gevent.sleep(0.02)
    step.kill(LeaseLost("cancelled"), timeout=1)
    return type(step.exception).__name__


if __name__ == "__main__":
    print(main(Path(sys.argv[1])), flush=True)
    os._exit(0)
