"""The container's entry point: `python -m dbt_runner`."""

from __future__ import annotations

import gc
import sys
import time

STARTED = time.monotonic()
# Nothing that is imported or parsed is garbage, so collecting would only cost; it begins with the first node.
gc.disable()
# A stopped run leaves at once; that some semaphores are tidied up for it afterwards is not news for its log.
sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")

from dbt_runner.run import main  # noqa: E402 - the clock starts before the imports, which are part of a run's time

sys.exit(main(STARTED))
