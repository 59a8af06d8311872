"""The pages in a browser: nothing on its console, nothing from outside, no scripts, small windows, keys alone, paper."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import PROGRAM, WHY_NOT, Tab, chromium
from monitor_world import Pages, served

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WHY_NOT)

PATHS = (
    "",
    "batches",
    "batch/northwind.accruals.2026-12-05.1",
    "batch/northwind.accruals.2026-12-03.1",
    "partner/northwind",
    "nights?date=2026-12-02",
)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
AXE = Path(os.environ.get("SEALIFT_AXE") or Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js")
RULES = "axe.run().then(found => found.violations.map(each => [each.id, each.nodes.map(node => node.html)]))"
MARKED = "getComputedStyle(document.activeElement).outlineStyle"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(seeded: Pages) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONITOR", "on")
        with served(seeded) as url:
            yield f"{url}/api/monitor"


@pytest.mark.parametrize("path", PATHS)
def test_page_asks_nothing_of_others_and_its_console_is_silent(tab: Tab, address: str, path: str) -> None:
    tab.open(f"{address}/{path}{'&' if '?' in path else '?'}code=abc")

    assert tab.console == []
    assert [url for url in tab.requests if not url.startswith((address, "data:"))] == []
    assert len([url for url in tab.requests if url.startswith(address)]) == 1
    assert tab.evaluate("document.referrer") == ""


@pytest.mark.parametrize("path", PATHS)
def test_page_is_the_same_without_scripts(tab: Tab, address: str, path: str) -> None:
    tab.open(f"{address}/{path}")
    with_scripts = tab.evaluate("document.body.innerText")

    tab.open(f"{address}/{path}", scripts=False)

    assert tab.evaluate("document.body.innerText") == with_scripts
    assert tab.evaluate("document.scripts.length") == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [1280, 768, 640, 360])
def test_page_fits_its_window(tab: Tab, address: str, path: str, width: int) -> None:
    """640 is a window of 1280 at a zoom of 200 %."""
    tab.open(f"{address}/{path}", width=width, height=640)

    assert tab.evaluate(OVERFLOW) <= 0


@pytest.mark.skipif(
    not AXE.exists() and "CI" not in os.environ,  # there a skip would prove nothing: it fails
    reason="axe-core is not installed: npm ci in tests/monitor/axe, as ./sealift test does",
)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", [*PATHS, "nothing"])
def test_accessibility_checker_finds_nothing(tab: Tab, address: str, path: str, *, dark: bool) -> None:
    tab.open(f"{address}/{path}", dark=dark)
    tab.evaluate(AXE.read_text("utf-8") + ";0")

    assert tab.evaluate(RULES) == []


def test_keys_alone_lead_to_a_batch_and_show_where_they_are(tab: Tab, address: str) -> None:
    tab.open(address)
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(60):
        assert tab.evaluate(MARKED) == "solid"
        if "/batch/" in tab.evaluate("document.activeElement.href || ''"):
            break
        tab.press("Tab")

    tab.press("Enter")

    tab.wait_until("location.pathname.includes('/batch/') && document.readyState === 'complete'")
    assert tab.evaluate("document.querySelector('h1').textContent").count(".") == 3


def test_filter_is_a_form_that_keeps_the_key(tab: Tab, address: str) -> None:
    tab.open(f"{address}/batches?code=abc")
    tab.evaluate(
        "document.querySelector('select[name=state]').value = 'failed'; document.querySelector('form').submit()"
    )

    tab.wait_until("location.search.includes('state=failed') && document.readyState === 'complete'")
    assert tab.evaluate("document.querySelectorAll('tbody tr').length") == 1
    assert "code=abc" in tab.evaluate("document.querySelector('tbody a').href")


def test_newest_day_is_in_view_on_a_narrow_window(tab: Tab, address: str) -> None:
    tab.open(address, width=360)

    last = "[...document.querySelectorAll('.grid thead th')].at(-1).getBoundingClientRect().right"
    assert tab.evaluate(f"{last} <= innerWidth")


@pytest.mark.parametrize("path", PATHS)
def test_keys_reach_every_link_and_every_table_that_scrolls(tab: Tab, address: str, path: str) -> None:
    tab.open(f"{address}/{path}")
    wanted = "document.querySelectorAll('a, select, input, button, summary, [tabindex=\"0\"]').length"
    # A browser steps through the parts of a date one by one, and not into what is folded.
    most = tab.evaluate(wanted) + 6 * tab.evaluate("document.querySelectorAll('input[type=date]').length")
    tab.evaluate(
        "window.reached = new Set(); document.addEventListener('focusin', each => reached.add(each.target)); 0"
    )
    for _ in range(most):
        tab.press("Tab")

    left = "[...document.querySelectorAll('a, .scroll, select, button, summary')].filter(each => !reached.has(each)).length"
    assert tab.evaluate(left) == 0


@pytest.mark.parametrize("path", PATHS)
def test_print_has_no_menus_and_no_background(tab: Tab, address: str, path: str) -> None:
    tab.open(f"{address}/{path}")
    tab.call("Emulation.setEmulatedMedia", media="print")

    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    painted = "[...document.querySelectorAll('.mark, .grid td a')].map(each => getComputedStyle(each).backgroundColor)"
    assert set(tab.evaluate(painted)) <= {"rgba(0, 0, 0, 0)"}
    assert tab.print_to_pdf().startswith(b"%PDF")


@pytest.mark.skipif("SEALIFT_PICTURES" not in os.environ, reason="SEALIFT_PICTURES names no folder for pictures")
def test_pictures_of_the_pages(tab: Tab, address: str) -> None:
    """Write what README and docs/monitor.md show."""
    folder = Path(os.environ["SEALIFT_PICTURES"])
    for name, path in (("overview", ""), ("batch", "batch/northwind.accruals.2026-12-05.1")):
        for mode in ("light", "dark"):
            tab.open(f"{address}/{path}", dark=mode == "dark", height=760)
            (folder / f"monitor-{name}-{mode}.png").write_bytes(tab.picture(whole=False))
