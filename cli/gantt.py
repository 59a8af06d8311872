"""A Gantt picture of a run as SVG: one bar an activity, its start and length true to time. Plain text out, no network."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from adf_runner.run.records import ActivityRun, PipelineRun
from cli.run_display import label_of

WIDTH, LABEL, ROW, TOP, BAR = 960, 300, 22, 56, 14
RIGHT = 70
COLOURS = {"Succeeded": "#2e7d32", "Failed": "#c62828", "Cancelled": "#f9a825", "InProgress": "#0277bd"}
CONTAINER_COLOURS = {"Succeeded": "#a5d6a7", "Failed": "#ef9a9a", "Cancelled": "#fff59d", "InProgress": "#81d4fa"}
FONT = 'font-family="system-ui, sans-serif" font-size="12"'
GREY = "#757575"
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
TICKS = 8
ROWS_LIMIT = 120
SHORTEST_SECONDS = 0.05  # shown as 0.1 s


def gantt(run: PipelineRun, *, depth: int = 3) -> str:
    """Draw a run down to `depth` levels, without what was skipped, the single turns of an Until and what took no time."""
    bars = [(bar, level) for bar, level in _bars(run.activities, 0, depth) if _counts(bar)][:ROWS_LIMIT]
    total = max([run.seconds, *(bar.offset + bar.seconds for bar, _ in bars), 0.001])
    height = TOP + ROW * len(bars) + 16
    scale = (WIDTH - LABEL - RIGHT) / total
    verdict = f"{run.status}, {run.seconds:.1f} s"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f"<title>{escape(run.pipeline)}: {verdict}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="600" fill="#212121">{escape(run.pipeline)}</text>',
        f'<text x="{WIDTH - 12}" y="24" text-anchor="end" fill="{COLOURS.get(run.status, GREY)}">{verdict}</text>',
    ]
    for moment in _ticks(total):
        x = LABEL + moment * scale
        lines += [
            f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 12}" stroke="#e0e0e0"/>',
            f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle" font-size="10" fill="#757575">{_seconds(moment)}</text>',
        ]
    for index, (bar, level) in enumerate(bars):
        y = TOP + ROW * index
        colours = CONTAINER_COLOURS if bar.children else COLOURS
        label = label_of(bar)
        told = f"{escape(label)} ({bar.type}): {bar.status}, {bar.seconds:.1f} s"
        fill = colours.get(bar.status, GREY)
        x, width = LABEL + bar.offset * scale, max(2.0, bar.seconds * scale)
        lines += [
            f'<text x="{12 + 14 * level}" y="{y + 11}" fill="#212121">{escape(_fit(label, level))}</text>',
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{fill}"><title>{told}</title></rect>',
            f'<text x="{x + width + 4:.1f}" y="{y + 11}" font-size="10" fill="#616161">{_seconds(bar.seconds)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _counts(run: ActivityRun) -> bool:
    return run.seconds >= SHORTEST_SECONDS or run.status == "Failed"


def _bars(runs: list[ActivityRun], level: int, depth: int) -> Iterator[tuple[ActivityRun, int]]:
    for run in sorted(runs, key=lambda item: item.offset):
        if run.status == "Skipped":
            continue
        yield run, level
        if level + 1 < depth and run.type != "Until":
            yield from _bars(run.children, level + 1, depth)


def _ticks(total: float) -> Iterator[float]:
    step = next((step for step in STEPS if total / step <= TICKS), STEPS[-1])
    moment = 0.0
    while moment <= total:
        yield moment
        moment += step


def _seconds(value: float) -> str:
    if value >= 120:
        return f"{value / 60:.1f} min"
    return f"{value:.1f} s" if value % 1 or value < 10 else f"{value:.0f} s"


def _fit(label: str, level: int) -> str:
    room = (LABEL - 24 - 14 * level) // 7
    return label if len(label) <= room else f"{label[: room - 1]}…"
