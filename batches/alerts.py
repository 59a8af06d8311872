"""Posts an alert to a webhook, again while the other side is not well; the text is fit for a mail and for a chat."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import datetime

from delivery.errors import DeliveryError, Unusable
from partners.deadlines import Standing, alert_text

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST comes as a GET to a page that takes no alert, so the answer stays what it is: no success."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


class AlertNotPosted(DeliveryError):
    """The alert reached nobody: the caller must not mark it as sent."""

    status = 503
    transient = True


def post_alert(
    url: str,
    standing: Standing,
    now: datetime,
    *,
    time_zone: str = "UTC",
    page: str = "",
    attempts: int = 4,
    timeout_seconds: float = 10.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """POST {"key", "subject", "text", "partner", "feed", "business_date", "state", "due_by", "batch", "cause", "page"}.

    `text` alone is what Slack and Teams show; `key` is the same for the same alert, so that a receiver can drop doubles.
    Raises Unusable for an address that is refused, AlertNotPosted when all attempts failed.
    """
    _check(url)
    subject, body = alert_text(standing, now, time_zone=time_zone, page=page)
    alert = {
        "key": standing.key,
        "subject": subject,
        "text": f"{subject}\n\n{body}",
        "partner": standing.partner,
        "feed": standing.feed,
        "business_date": standing.business_date.isoformat(),
        "state": standing.state,
        "due_by": standing.due_by.isoformat(),
        "batch": standing.batch,
        "cause": standing.reason,
        "page": page,
    }
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url, json.dumps(alert).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    opener = urllib.request.build_opener(_NoRedirect)  # made here: what it trusts is read when it is made
    problem = ""
    for attempt in range(attempts):
        if attempt:
            sleep(2.0**attempt)
        try:
            with opener.open(request, timeout=timeout_seconds):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _PASSING:
                raise Unusable(
                    f"the alert webhook answers {error.code}", hint="make a new webhook address and store it again"
                ) from None
            problem = f"it answers {error.code}"
        except OSError as error:
            problem = str(error)
        except http.client.HTTPException as error:
            problem = f"no HTTP answer ({type(error).__name__})"  # its text may quote the address
    # The address is a secret of its own: anyone who has it can post. It is never part of a message.
    raise AlertNotPosted(
        f"the alert webhook accepted nothing in {attempts} attempts: {problem}",
        hint="check that its address still exists",
    )


def page_of(standing: Standing) -> str:
    """Return the operators' page about a standing, without any key; "" where the pages are off or the address is not known.

    PUBLIC_URL is the address under which people reach the app; without it the platform's own name of the app is taken.
    """
    host = os.environ.get("WEBSITE_HOSTNAME", "")
    app = os.environ.get("PUBLIC_URL", "").rstrip("/") or (f"https://{host}" if host else "")
    if not app or os.environ.get("MONITOR") != "on":
        return ""
    return f"{app}/api/monitor/batch/{standing.batch}" if standing.batch else f"{app}/api/monitor"


def _check(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        is_address = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise Unusable(
            "the alert webhook is not an https address", hint="alerts name partners and causes: they need https"
        )
    if not all("!" <= letter <= "~" for letter in url):
        raise Unusable(
            "the alert webhook's address holds a space or a letter that no address has",
            hint="store it again as one line, exactly as it was given",
        )
