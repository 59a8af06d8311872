"""A hook of MkDocs: a link that leaves docs/ leads to a page made from that file, or to the repository on the web.

The pages link to each other as they are in the repository, so that they also read well there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)([^)\s]*)\)")
# Pages outside docs/ that belong to the site as well, by their place in it.
ALSO = {
    "partner_kit/README.md": "kit/README.md",
    "partner_kit/OPENPGP.md": "kit/OPENPGP.md",
    "partner_kit/SMIME.md": "kit/SMIME.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "benchmarks/README.md": "benchmarks.md",
}


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages of `ALSO` to MkDocs' files."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found, unused-ignore] # lives in .venv-docs

    for source, place in ALSO.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page's text with its links to files outside docs/ replaced."""
    place = page.file.src_uri
    source = next((name for name, its in ALSO.items() if its == place), f"docs/{place}")
    return LINK.sub(lambda found: link_on_site(source, *found.groups()), markdown)


def link_on_site(source: str, text: str, target: str, anchor: str) -> str:
    """Return a link as it is on the site: the bare text where the file is on no page and no repository is known."""
    path = os.path.relpath((ROOT / source).parent / target, ROOT)
    inside = path.removeprefix("docs/") if path.startswith("docs/") else None
    place = ALSO.get(path, inside)
    if place is not None and (ROOT / path).is_file():
        here = Path(ALSO.get(source, source.removeprefix("docs/"))).parent
        return f"[{text}]({os.path.relpath(place, here)}{anchor})"
    server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    return f"[{text}]({server}/{repository}/tree/main/{path}{anchor})" if server and repository else text
