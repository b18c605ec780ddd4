"""Torture the program: kill it, damage its files, crowd its page. Prints one JSON line: tried, survived, lost.

python benchmarks/torture.py [--kills 20] [--mutants 500] [--page-seconds 20] [--seed 0] [--only kills|mutants|page]

Interrupted, it prints what it has; kills go on from there with the same seed. What was lost is kept in --keep, with a note
of how it was damaged and what read it.
"""

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torture_kills
import torture_mutants
import torture_page
from torture_artefacts import KINDS

from calibration.common.signals import ended_in_order


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="number of commands to kill")
    parser.add_argument("--mutants", type=int, default=500, help="number of damaged artefacts")
    parser.add_argument("--page-seconds", type=float, default=20)
    parser.add_argument("--sockets", type=int, default=200, help="on the web page")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["kills", "mutants", "page"])
    parser.add_argument("--file", default="", help="part of the name of the artefacts to damage; default: all")
    parser.add_argument("--again", action="store_true", help="kill anew what notes under --keep say was killed")
    parser.add_argument("--keep", type=Path, default=Path("runs/torture"), help="folder for what was lost")
    options = parser.parse_args()
    if not any(options.file in kind.file for kind in KINDS):
        parser.error(f"no artefact has {options.file!r} in its name; known: {', '.join(kind.file for kind in KINDS)}")
    if options.page_seconds <= torture_page.CONNECT_S or options.sockets < 1:
        parser.error(
            f"--page-seconds should exceed the {torture_page.CONNECT_S:g} in which 1 or more --sockets connect"
        )
    options.keep = options.keep.resolve()  # the commands run in folders of their own
    numbers: dict[str, Any] = {"seed": options.seed}
    parts = [options.only] if options.only else ["mutants", "kills", "page"]
    with suppress(KeyboardInterrupt), ended_in_order():
        if "mutants" in parts:
            tally = torture_mutants.Tally()
            try:
                torture_mutants.run_mutants(options.mutants, options.seed, options.keep, tally, options.file)
            finally:
                numbers["mutants"] = tally.to_dict()
        if "kills" in parts:
            tally = torture_mutants.Tally()
            try:
                torture_kills.run_kills(options.kills, options.seed, options.keep, tally, _say, options.again)
            finally:
                numbers["kills"] = tally.to_dict()
        if "page" in parts:
            numbers["page"] = torture_page.run_page(options.page_seconds, options.sockets)
    print(json.dumps(numbers))  # noqa: T201
    lost = [part["lost"] for part in numbers.values() if isinstance(part, dict) and "lost" in part]
    sys.exit(1 if any(lost) else 0)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
