"""Windows time-zone names and the IANA zone that stands for each (the CLDR mapping for the whole world)."""

from __future__ import annotations

from typing import Final

TABLE: Final = """
UTC=Etc/UTC
W. Europe Standard Time=Europe/Berlin
GMT Standard Time=Europe/London
Pacific Standard Time=America/Los_Angeles
"""

IANA_OF_WINDOWS: Final = {
    windows.lower(): iana for windows, iana in (line.split("=") for line in TABLE.strip().splitlines())
}
