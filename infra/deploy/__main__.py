"""`python -m infra.deploy ...`, where ./sealift is not at hand."""

import sys

from infra.deploy.cli import main

sys.exit(main(sys.argv[1:]))
