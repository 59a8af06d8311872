"""Refuses to provision grants that partners/ no longer asks for: the derived file must be what the partners' files say."""

from __future__ import annotations

import sys

from infra import partner_secrets
from infra.hooks.commands import finish, say


def main() -> None:
    secrets = partner_secrets.check()
    say(f"{len(secrets)} secrets of the partners are made and granted as partners/ names them")


if __name__ == "__main__":
    sys.exit(finish(main))
