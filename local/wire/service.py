"""What every stand-in of the cloud is: started, stopped, and both by `with`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Service(ABC):
    """Something that runs between `start()`, which returns it ready, and `stop()`, which works any number of times."""

    @abstractmethod
    def start(self) -> Self:
        """Start it and return it when it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it and wait until it is gone."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
