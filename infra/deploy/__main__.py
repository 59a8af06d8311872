"""`python -m infra.deploy ...`, where ./sealift is not at hand."""

from __future__ import annotations

import sys

from infra.deploy.cli import main

sys.exit(main(sys.argv[1:]))
