"""One measurement in a process of its own: ``python -m benchmarks.peers.measure SUITE CONTESTANT SETTINGS``.

SETTINGS are keyword arguments as JSON; the result is one line of JSON after a marker, since libraries print as well.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

MARK = "measured: "
FOLDER = "FASTMF_PEERS_DATA"  # environment variable: the folder of cached logs


def main(suite: str, contestant: str, settings: str) -> None:
    module = importlib.import_module(f"benchmarks.peers.{suite}")
    measured = module.CONTESTANTS[contestant](folder=Path(os.environ[FOLDER]), **json.loads(settings))
    sys.stdout.flush()
    print("\n" + MARK + json.dumps(measured), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
