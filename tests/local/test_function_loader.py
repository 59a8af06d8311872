from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.functions_host.loader import load_app
from local.functions_host.settings import AppRefused

HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"

# One mistake each that Azure refuses; the differential test gives the same files to Microsoft's own package.
REFUSED = {
    "wrong argument name": HEAD + "@app.route(route='a')\ndef f(request: func.HttpRequest) -> str: ...\n",
    "unbound parameter": HEAD + "@app.route(route='a')\ndef f(req: func.HttpRequest, more: str) -> str: ...\n",
    "wrong annotation": HEAD + "@app.route(route='a')\ndef f(req: func.QueueMessage) -> str: ...\n",
    "annotation of two types": HEAD + "@app.route(route='a')\ndef f(req: func.HttpRequest | None) -> str: ...\n",
    "wrong context": HEAD + "@app.route(route='a')\ndef f(req: func.HttpRequest, context: str) -> str: ...\n",
    "output that is not Out": HEAD
    + "@app.route(route='a')\n@app.queue_output('out', 'q', 'C')\ndef f(req: func.HttpRequest, out: str) -> str: ...\n",
    "output of a builtin list": HEAD
    + "@app.route(route='a')\n@app.queue_output('out', 'q', 'C')\n"
    + "def f(req: func.HttpRequest, out: func.Out[list[str]]) -> str: ...\n",
    "input that is Out": HEAD + "@app.route(route='a')\ndef f(req: func.Out[func.HttpRequest]) -> str: ...\n",
    "wrong return annotation": HEAD + "@app.route(route='a')\ndef f(req: func.HttpRequest) -> dict: ...\n",
    "return annotation of a wrapped handler": HEAD
    + textwrap.dedent("""\
        from functools import wraps
        def endpoint(handle):
            @wraps(handle)
            def answer(req: func.HttpRequest) -> func.HttpResponse: ...
            return answer
        @app.route(route='a')
        @endpoint
        def f(req: func.HttpRequest) -> tuple[int, str]: ...
        """),
    "unresolved annotation": "from __future__ import annotations\n"
    + HEAD
    + "@app.route(route='a')\ndef f(req: func.HttpRequest) -> Nowhere: ...\n",
    "two apps": HEAD + "other = func.FunctionApp()\n",
    "no app": "import azure.functions as func\n",
    "missing module": "import sealift_is_not_here\n" + HEAD,
    "failing import": HEAD + "1 / 0\n",
    "two functions of one name": HEAD
    + "@app.route(route='a')\ndef f(req: func.HttpRequest) -> str: ...\n" * 2,
    "two triggers": HEAD
    + "@app.route(route='a')\n@app.route(route='b')\ndef f(req: func.HttpRequest) -> str: ...\n",
}  # fmt: skip
ACCEPTED = {
    "plain": HEAD + "@app.route(route='a')\ndef f(req: func.HttpRequest) -> func.HttpResponse: ...\n",
    "no annotations": HEAD + "@app.route(route='a')\ndef f(req): ...\n",
    "text message": HEAD + "@app.queue_trigger('msg', 'q', 'C')\ndef f(msg: str) -> None: ...\n",
    "postponed annotations": "from __future__ import annotations\n"
    + HEAD
    + "@app.route(route='a')\ndef f(req: func.HttpRequest, context: func.Context) -> func.HttpResponse: ...\n",
    "list output": "from typing import List\n"
    + HEAD
    + "@app.route(route='a')\n@app.queue_output('out', 'q', 'C')\n"
    + "def f(req: func.HttpRequest, out: func.Out[List[str]]) -> str: ...\n",
}


@pytest.fixture
def app_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = sys.modules.pop("function_app", None)
    yield tmp_path
    sys.modules.pop("function_app", None)
    if before is not None:
        sys.modules["function_app"] = before


@pytest.mark.parametrize("mistake", REFUSED)
def test_app_that_azure_refuses_is_refused(app_folder: Path, mistake: str) -> None:
    (app_folder / "function_app.py").write_text(REFUSED[mistake])

    with pytest.raises(AppRefused) as refusal:
        load_app(app_folder)

    assert refusal.value.hint


@pytest.mark.parametrize("title", ACCEPTED)
def test_app_that_azure_takes_is_taken(app_folder: Path, title: str) -> None:
    (app_folder / "function_app.py").write_text(ACCEPTED[title])

    assert list(load_app(app_folder)) == ["f"]


def test_binding_that_is_not_known_here_is_refused_by_name(app_folder: Path) -> None:
    blob = "@app.blob_trigger('blob', 'raw/{name}', 'C')\ndef f(blob: func.InputStream) -> None: ...\n"
    (app_folder / "function_app.py").write_text(HEAD + blob)

    with pytest.raises(AppRefused, match="does not know the binding 'blobTrigger'"):
        load_app(app_folder)


def test_our_own_app_is_taken(repository: Path) -> None:
    script = "from pathlib import Path; from local.functions_host.loader import load_app; print(*load_app(Path('.')))"
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True)

    assert {"plan", "status", "health"} <= set(done.stdout.split()), done.stderr


def test_message_that_is_asked_for_as_bytes_is_refused_and_not_given_as_text(app_folder: Path) -> None:
    asked = (
        "@app.queue_trigger('msg', 'q', 'C', data_type=func.DataType.%s)\ndef f(msg: func.QueueMessage) -> None: ...\n"
    )
    (app_folder / "function_app.py").write_text(HEAD + asked % "BINARY")
    with pytest.raises(AppRefused, match="the trigger's data type is BINARY"):
        load_app(app_folder)

    sys.modules.pop("function_app", None)
    (app_folder / "function_app.py").write_text("#\n" + HEAD + asked % "STRING")
    assert list(load_app(app_folder)) == ["f"]
