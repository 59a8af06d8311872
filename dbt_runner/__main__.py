"""The container's entry point: `python -m dbt_runner`."""

import sys
import time

STARTED = time.monotonic()

from dbt_runner.run import main  # noqa: E402 - the clock starts before the imports, which are part of a run's time

sys.exit(main(STARTED))
