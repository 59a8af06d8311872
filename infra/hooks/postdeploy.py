"""azd's postdeploy hook: deploys adf/, then checks the app.

azd runs it in this folder; it hands over in the repository's root.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

for name in ["factory", "app"]:
    if code := subprocess.run([sys.executable, "-m", "infra.hooks", name], cwd=ROOT, check=False).returncode:
        sys.exit(code)
