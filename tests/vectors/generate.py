"""Write the test vectors anew: python tests/vectors/generate.py [DIR]

One file is one scenario: a whole batch as it lies at the partner, the key that opens it, and what must happen (`expect`).
A rerun writes the same bytes and leaves git clean; only the RSA keys in keys/ cannot be made again, and are made when missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from encoder import make_missing_keys, make_missing_pgp_keys  # noqa: E402  # this folder is on the path only from here on
from scenarios import all_scenarios  # noqa: E402


def main(folder: Path) -> None:
    make_missing_keys()
    make_missing_pgp_keys()
    names: set[str] = set()
    for scenario in all_scenarios():
        assert scenario.name not in names, scenario.name
        names.add(scenario.name)
        scenario.write(folder)
    for stale in folder.glob("*.json"):
        if stale.stem not in names:
            stale.unlink()
    print(f"{len(names)} vectors")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
