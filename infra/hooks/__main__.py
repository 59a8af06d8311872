"""`python -m infra.hooks NAME`: runs one hook, where the packages that it needs are there.

azd makes an environment for its hooks, but uses the one that is active in the shell, which has other packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys


def main() -> int:
    """Run the hook that is named; return its exit code."""
    if importlib.util.find_spec("pydantic") is None or importlib.util.find_spec("azure") is None:
        active = os.environ.get("VIRTUAL_ENV", "")
        action = (
            "leave the virtual environment (deactivate)" if active else "pip install -r infra/hooks/requirements.txt"
        )
        print(
            f"error: {active or sys.executable} lacks the packages of the hooks\nhint: {action}, then run azd again",
            file=sys.stderr,
        )
        return 1
    from infra.hooks.commands import finish

    return finish(importlib.import_module(f"infra.hooks.{sys.argv[1]}").main)


if __name__ == "__main__":
    sys.exit(main())
