"""azd's preprovision hook: compares what the template grants with what partners/ names.

azd runs it in this folder; it hands over in the repository's root.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

for name in ["secrets"]:
    if code := subprocess.run([sys.executable, "-m", "infra.hooks", name], cwd=ROOT, check=False).returncode:
        sys.exit(code)
