"""A SystemExit in a function would end Azure's worker process, with every other call on it: no function lets one out."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, NoReturn

import azure.functions as func
import pytest

import function_app

FUNCTIONS = {name: value for name, value in vars(function_app).items() if hasattr(value, "_function")}
LOOKING_AT_NOTHING = {"health", "ready"}


@pytest.fixture(autouse=True)
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a function needs first asks to end the process."""

    def end(*_: Any, **__: Any) -> NoReturn:
        raise SystemExit(3)

    for name in ("_context", "_body", "_batch_id"):
        monkeypatch.setattr(function_app, name, end)


def call(name: str) -> Any:
    function = FUNCTIONS[name]._function
    given = function.get_user_function()
    kind = function.get_trigger().get_binding_name()
    if kind == "httpTrigger":
        request = func.HttpRequest("GET", "/", params={"at": "2026-11-21T00:00:00Z"}, body=b"{}")
        return given(request, SimpleNamespace(invocation_id="1", trace_context=None))
    return given(func.QueueMessage(body=b"{}") if kind == "queueTrigger" else SimpleNamespace(past_due=False))


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - LOOKING_AT_NOTHING))
def test_step_that_asks_to_end_the_process_is_an_error_of_its_call(name: str) -> None:
    if FUNCTIONS[name]._function.get_trigger().get_binding_name() == "httpTrigger":
        answer = call(name)

        assert answer.status_code == 500
        said = answer.get_body().decode()
        assert "the app failed" in (said if name == "monitor" else json.loads(said)["error"])
    else:
        with pytest.raises(RuntimeError, match="end the process"):
            call(name)


def test_every_kind_of_function_is_tried() -> None:
    kinds = {FUNCTIONS[name]._function.get_trigger().get_binding_name() for name in FUNCTIONS}

    assert kinds == {"httpTrigger", "queueTrigger", "timerTrigger"}
