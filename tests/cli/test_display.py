"""What is shown of a run: the monitor's table and the Gantt picture."""

from __future__ import annotations

import io
import re
import time
import xml.etree.ElementTree as ET

import pytest
from factory_support import activity, after, expression, pipeline
from rich.console import Console

from adf_runner import Overrides, PipelineRun, factory_from_documents, run_pipeline
from adf_runner.run.records import ActivityRun
from cli.gantt import gantt
from cli.run import Narrator
from cli.run_display import Monitor, monitor_table

GRAPH = pipeline(
    [
        activity("Loop", "ForEach", {"items": expression("@range(1,9)"), "isSequential": True,
                                     "activities": [activity("W", "Wait", {"waitTimeInSeconds": 1})]}),
        activity("Stop", "Fail", {"message": "the <partner> said no\nmore", "errorCode": "1"}, dependsOn=after("Loop")),
        activity("Never", "Wait", {"waitTimeInSeconds": 1}, dependsOn=after("Stop")),
    ]
)  # fmt: skip


@pytest.fixture
def finished() -> PipelineRun:
    return run_pipeline(factory_from_documents(GRAPH), "main", overrides=Overrides(sleep=lambda _seconds: None))


def text_of(run: PipelineRun, width: int = 160) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(monitor_table(run))
    return out.getvalue()


def test_the_table_shows_status_duration_and_the_first_line_of_an_error(finished: PipelineRun) -> None:
    lines = {line.split()[0]: line for line in text_of(finished).splitlines() if line.strip()}

    assert "Failed" in lines["Stop"]
    assert "the <partner> said no" in lines["Stop"]
    assert "Skipped" in lines["Never"]
    assert lines["main"].rstrip().endswith("Operation on target Stop failed: the <partner> said no")


def test_where_it_is_narrow_the_error_is_cut_and_not_the_name() -> None:
    name = "Deliver by the function's own route"
    failing = pipeline([activity(name, "Fail", {"message": "the partner said no " * 9, "errorCode": "1"})])
    run = run_pipeline(factory_from_documents(failing), "main")

    lines = text_of(run, width=90).splitlines()

    assert [line for line in lines if name in line and "Failed" in line]
    assert max(map(len, lines)) <= 90
    assert len(lines) == 3


def test_the_table_keeps_the_last_turns_of_a_long_loop(finished: PipelineRun) -> None:
    shown = text_of(finished)

    assert "... 6 turns before" in shown
    assert "W [8]" in shown
    assert "W [5]" not in shown


def test_the_monitor_prints_once_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    with Monitor(Console(file=out, width=160)) as monitor:
        run_pipeline(
            factory_from_documents(GRAPH), "main", overrides=Overrides(sleep=lambda _seconds: None), on_event=monitor
        )

    assert out.getvalue().count("activity ") == 1


def test_the_monitor_lives_on_a_terminal() -> None:
    out = io.StringIO()
    with Monitor(Console(file=out, width=160, force_terminal=True)) as monitor:
        run_pipeline(
            factory_from_documents(GRAPH), "main", overrides=Overrides(sleep=lambda _seconds: None), on_event=monitor
        )

    assert "Stop" in out.getvalue()


def test_the_gantt_picture_is_svg_with_a_bar_an_activity(finished: PipelineRun) -> None:
    root = ET.fromstring(gantt(finished))
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]

    assert root.tag.endswith("svg")
    assert any(title.startswith("Stop") for title in titles)
    assert not any(title.startswith("Never") for title in titles)


def test_the_gantt_picture_leaves_out_what_took_no_time(finished: PipelineRun) -> None:
    slow = next(each for each in finished.walk() if each.name == "W")
    slow.seconds = 2.0

    titles = [
        element.text or "" for element in ET.fromstring(gantt(finished)).iter("{http://www.w3.org/2000/svg}title")
    ]

    assert [title for title in titles if title.startswith("W")] == ["W [0] (Wait): Succeeded, 2.0 s"]


def test_a_bar_names_the_feed_that_it_is_about() -> None:
    kid = PipelineRun(pipeline="start_batch", run_id="2", parameters={"partner": "north", "feed": "rows"})
    bar = ActivityRun(name="Start", type="ExecutePipeline", run_id="3", status="Succeeded", seconds=1.0, child_run=kid)
    night = PipelineRun(pipeline="nightly", run_id="1", status="Succeeded", seconds=1.0, activities=[bar])

    assert ">Start: north rows<" in gantt(night)


def test_each_line_of_a_night_names_its_feed_and_comes_after_what_holds_it(capsys: pytest.CaptureFixture[str]) -> None:
    deliver = activity(
        "Deliver",
        "ExecutePipeline",
        {
            "pipeline": {"referenceName": "kid", "type": "PipelineReference"},
            "waitOnCompletion": True,
            "parameters": {"partner": expression("@item()"), "feed": "rows"},
        },
    )
    kid = pipeline(
        [activity("S" * 50, "Fail", {"message": "no", "errorCode": "1"})],
        parameters={"partner": {"type": "string"}, "feed": {"type": "string"}},
    )
    night = pipeline(
        [
            activity(
                "Each feed",
                "ForEach",
                {"items": expression("@createArray('north', 'south')"), "isSequential": True, "activities": [deliver]},
            )
        ]
    )
    documents = night | {"pipeline/kid.json": {**kid["pipeline/main.json"], "name": "kid"}}

    run_pipeline(factory_from_documents(documents), "main", on_event=Narrator())

    lines = [re.sub(r" s( .*)?$", "", line) for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[:3] for line in lines] == [
        [">", "Each", "feed"],
        [">", "north.rows", "Deliver"],
        ["x", "north.rows", "S" * 23 + "..."],
        ["x", "north.rows", "Deliver"],
        [">", "south.rows", "Deliver"],
        ["x", "south.rows", "S" * 23 + "..."],
        ["x", "south.rows", "Deliver"],
        ["x", "Each", "feed"],
    ]
    assert len({len(line) for line in lines if line.startswith("  x")}) == 1


def test_a_terminal_shows_what_is_running_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    out = {kind: io.StringIO() for kind in (True, False)}
    for is_terminal, file in out.items():
        monkeypatch.setattr("cli.console.console", Console(file=file, width=120, force_terminal=is_terminal))
        with Narrator() as narrator:
            factory = factory_from_documents(pipeline([activity("Look", "Fail", {"message": "no", "errorCode": "1"})]))
            run_pipeline(factory, "main", on_event=lambda event: (narrator(event), time.sleep(0.15))[0])

    assert "\x1b[?25l" in out[True].getvalue()
    assert "\x1b[?25h" in out[True].getvalue()  # the cursor is back
    assert "\x1b" not in out[False].getvalue()
    assert out[False].getvalue().count("Look") == 1
