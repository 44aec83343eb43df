"""One measurement in a process of its own: ``python -m benchmarks.peers.measure SUITE CONTESTANT SETTINGS``.

Settings are keyword arguments as JSON; the answer is one line of JSON behind a mark, since libraries print too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

MARK = "measured: "
FOLDER = "FASTMF_PEERS_DATA"  # the environment variable that names the folder of the logs


def main(suite: str, contestant: str, settings: str) -> None:
    module = importlib.import_module(f"benchmarks.peers.{suite}")
    measured = module.CONTESTANTS[contestant](folder=Path(os.environ[FOLDER]), **json.loads(settings))
    sys.stdout.flush()
    print("\n" + MARK + json.dumps(measured), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
