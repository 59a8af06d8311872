"""The operators' pages: what arrived, what is late, why, and what to do. Read-only HTML and a JSON twin of each page.

    page = answer(context, path="batches", query={"state": "failed"}, key=None)

Reads what `batches` knows, changes nothing, needs no JavaScript and no other host. It holds no row, no secret and no key.
"""

from __future__ import annotations

from monitor.answering import Page, answer, failed, is_on, not_signed_in

__all__ = ["Page", "answer", "failed", "is_on", "not_signed_in"]
