"""azd's postdeploy hook: deploys adf/, then checks the app.

azd runs it in this folder; it hands over in the repository's root.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

for module in ["infra.hooks.factory", "infra.hooks.app"]:
    if code := subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=False).returncode:
        sys.exit(code)
