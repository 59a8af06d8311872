from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]  # no stubs among our requirements
import pytest
import requests
from service_support import copy_sample_app, wait_for

from local.azurite import Azurite
from local.functions_host.host import FunctionHost
from local.wire.processes import ServiceNotStarted

TIMEOUT_SECONDS = 2


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[FunctionHost]:
    folder = tmp_path_factory.mktemp("host")
    app = copy_sample_app(folder, functionTimeout=f"00:00:0{TIMEOUT_SECONDS}")
    settings = {
        "AzureWebJobsStorage": azurite.connection_string("sealifthost"),
        "JOURNAL": str(folder / "journal"),
        "WORK_QUEUE": "host-test-work",
    }
    with FunctionHost(app, settings, {"default": "host-key", "partner": "second-key"}, folder=folder) as running:
        yield running


@pytest.fixture
def call(host: FunctionHost) -> Iterator[Callable[..., requests.Response]]:
    with requests.Session() as session:

        def call(method: str, path: str, key: str | None = "host-key", **more: Any) -> requests.Response:
            headers = more.pop("headers", {}) | ({"x-functions-key": key} if key else {})
            return session.request(method, f"{host.url}{path}", headers=headers, timeout=30, **more)

        yield call


Call = Callable[..., requests.Response]


def test_request_reaches_the_function_as_azure_hands_it_on(call: Call, host: FunctionHost) -> None:
    headers = {"X-Mixed-Case": "1", "x-functions-key": "host-key"}
    seen = call("POST", "/api/echo/abc/7?a=1&empty=&b=%C3%A9&a=2", headers=headers, data=b"{}").json()

    assert seen["method"] == "POST"
    assert seen["route"] == {"name": "abc", "number": "7"}
    assert seen["query"] == {"a": "1,2", "b": "\u00e9"}
    assert seen["url"] == f"{host.url}/api/echo/abc/7?a=1&empty=&b=%C3%A9&a=2"
    assert seen["body"] == "{}"
    assert seen["headers"]["x-mixed-case"] == "1"


def test_repeated_headers_are_joined(host: FunctionHost) -> None:
    request = (
        f"GET /api/echo/abc?code=host-key HTTP/1.1\r\nHost: 127.0.0.1:{host.url.rsplit(':')[-1]}\r\n"
        "X-Many: one\r\nx-many: two\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(host.url.rsplit(":")[-1]))) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["x-many"] == "one,two"


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/api/echo/abc", "host-key", 200),
        ("GET", "/api/echo/abc", "second-key", 200),
        ("GET", "/api/echo/abc?code=host-key", None, 200),
        ("GET", "/api/echo/abc", None, 401),
        ("GET", "/api/echo/abc", "wrong", 401),
        ("GET", "/api/echo/abc?code=wrong", None, 401),
        ("DELETE", "/api/echo/abc", "host-key", 404),
        ("DELETE", "/api/echo/abc", None, 404),
        ("GET", "/api/echo/123", "host-key", 404),
        ("GET", "/api/nowhere", "host-key", 404),
        ("GET", "/other/echo/abc", "host-key", 404),
        ("GET", "/api/open", None, 200),
        ("GET", "/api/rest/%00", "host-key", 400),
        ("GET", "/api/closed", "host-key", 401),
        ("GET", "/api/status/418", "host-key", 418),
        ("GET", "/api/boom", "host-key", 500),
        ("GET", "/api/nothing", "host-key", 500),
        ("GET", "/admin/host/status", "host-key", 401),
        ("GET", "/", None, 200),
    ],
)
def test_status_is_the_one_that_azure_answers(call: Call, method: str, path: str, key: str | None, status: int) -> None:
    assert call(method, path, key).status_code == status


def test_route_of_the_first_function_by_name_wins(call: Call) -> None:
    assert call("GET", "/api/echo/fixed").json()["route"] == {"name": "fixed"}
    assert call("GET", "/api/rest/a/b%20c").text == "a/b c"


def test_leading_slashes_are_not_folded(host: FunctionHost) -> None:
    assert answer_to(host, b"GET //api/echo/a?code=host-key HTTP/1.1\r\nHost: h\r\n\r\n") == 404


@pytest.mark.parametrize("double", [b"Host: h\r\nHost: h", b"Host: h\r\nContent-Length: 0\r\nContent-Length: 0"])
def test_host_or_length_given_twice_is_refused(host: FunctionHost, double: bytes) -> None:
    assert answer_to(host, b"GET /api/echo/a?code=host-key HTTP/1.1\r\n" + double + b"\r\n\r\n") == 400


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/api/rest/%E9?code=host-key", 200),
        (b"/api/rest/%C0%AF?code=host-key", 200),
        (b"/api/echo/\xc3\xa9?code=host-key", 400),
        (b"/api/batche%C5%BF", 404),
        (b"http://h/api/echo/a?code=host-key", 200),
        (b"http://other/api/echo/a?code=host-key", 400),
        (b"*", 405),
        (b"api/echo/a", 400),
    ],
)
def test_target_is_taken_or_refused_as_it_was_sent(host: FunctionHost, target: bytes, status: int) -> None:
    assert answer_to(host, b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n") == status


def test_method_that_no_route_has_is_not_found(host: FunctionHost) -> None:
    assert answer_to(host, b"TRACE /api/send HTTP/1.1\r\nHost: h\r\n\r\n") == 404


def test_request_line_over_8_kib_is_refused(host: FunctionHost) -> None:
    path = b"/api/" + b"a" * 8192
    assert answer_to(host, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n") == 414


def answer_to(host: FunctionHost, request: bytes) -> int:
    """Send raw bytes; return the status."""
    address = urlsplit(host.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(request)
        return int(connection.recv(4096).split()[1])


def test_answer_carries_status_headers_and_cookies(call: Call) -> None:
    answer = call("POST", "/api/accepted", json={"a": [1, 2]})

    assert answer.status_code == 202
    assert answer.headers["Location"] == "/api/echo/later"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.cookies["a"] == "b"
    assert answer.json() == {"a": [1, 2]}
    assert call("GET", "/api/bytes").content == bytes(range(256))


def test_chunked_body_without_a_length_arrives_empty(call: Call) -> None:
    sent = iter([b"some ", b"chunks"])

    assert call("POST", "/api/echo/abc", data=sent).json()["body"] == ""
    assert call("GET", "/api/open", None).text == "open to all"


def test_exception_tells_the_caller_nothing_and_the_log_all(call: Call, host: FunctionHost) -> None:
    answer = call("GET", "/api/boom")

    assert (answer.status_code, answer.content) == (500, b"")
    entries = [json.loads(line) for line in host.log.read_text().splitlines() if '"Exception"' in line]
    assert "the cause, which is for the log alone" in entries[-1]["traceback"]


def test_log_lines_are_json_and_carry_function_and_invocation(call: Call, host: FunctionHost) -> None:
    call("GET", "/api/echo/logged")

    entries = [json.loads(line) for line in host.log.read_text().splitlines()]
    written = next(entry for entry in entries if entry.get("message") == "echo for logged")
    assert written["function"] == "echo"
    ended = [entry for entry in entries if entry.get("invocation_id") == written["invocation_id"]]
    assert ended[-1]["outcome"] == "Succeeded"


def test_callers_trace_reaches_the_function(call: Call) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    assert call("GET", "/api/context", headers={"traceparent": trace}).json()["traceparent"] == trace
    assert call("GET", "/api/context").json()["traceparent"].count("-") == 3


def test_function_without_a_route_is_started_by_the_admin_door(call: Call, host: FunctionHost) -> None:
    journal = Path(host.environment["JOURNAL"])
    answer = call("POST", "/admin/functions/nightly", host.master_key, json={})
    assert answer.status_code == 202
    answer = call("POST", "/admin/functions/texts", host.master_key, json={"input": "by hand"})
    assert answer.status_code == 202

    wait_for(lambda: journal.exists() and {"timer False", "text by hand"} <= _entries(journal))
    assert call("POST", "/admin/functions/nobody", host.master_key, json={}).status_code == 404


def _entries(journal: Path) -> set[str]:
    return {line.split(" ", 1)[1] for line in journal.read_text().splitlines()}


def test_call_over_its_time_fails_and_costs_its_worker(call: Call, host: FunctionHost) -> None:
    before = call("GET", "/api/pid").text
    started = time.monotonic()

    answer = call("GET", "/api/slow")

    assert answer.status_code == 500
    assert TIMEOUT_SECONDS <= time.monotonic() - started < TIMEOUT_SECONDS + 5
    assert call("GET", "/api/pid").text != before


def test_other_calls_of_a_killed_worker_fail_too(call: Call, host: FunctionHost) -> None:
    from concurrent.futures import ThreadPoolExecutor

    worker = int(call("GET", "/api/pid").text)
    with ThreadPoolExecutor(1) as threads:
        pending = threads.submit(requests.get, f"{host.url}/api/slow?seconds=30&code=host-key", timeout=30)
        wait_for(lambda: '"slow"' in host.log.read_text().splitlines()[-1])
        os.kill(worker, 9)

        assert pending.result().status_code == 500
    assert call("GET", "/api/open", None).ok


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999"])
def test_length_that_makes_no_sense_ends_the_connection(host: FunctionHost, length: str) -> None:
    with socket.create_connection(("127.0.0.1", int(host.url.rsplit(":")[-1])), timeout=10) as connection:
        connection.sendall(f"POST /api/open HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_body_over_the_limit_is_refused(call: Call) -> None:
    assert call("POST", "/api/echo/abc", data=b"x" * (104_857_600 + 1)).status_code == 413


def test_status_tells_the_workers(call: Call, host: FunctionHost) -> None:
    status = call("GET", "/admin/host/status", host.master_key).json()

    assert status["state"] == "Running"
    assert [psutil.pid_exists(pid) for pid in status["workerProcessIds"]] == [True]


def test_several_workers_share_the_calls(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    app = copy_sample_app(tmp_path, only_http=True)
    with FunctionHost(app, {}, {"default": "k"}, folder=tmp_path, workers=2) as host:
        with ThreadPoolExecutor(2) as threads:
            slow = threads.submit(requests.get, f"{host.url}/api/slow?seconds=1&code=k")
            wait_for(lambda: '"Executing", "function": "slow"' in host.log.read_text())
            quick = {requests.get(f"{host.url}/api/pid?code=k").text for _ in range(5)}
            assert slow.result().text == "late"
        assert len(quick) == 1


def test_restart_keeps_address_and_keys(tmp_path: Path) -> None:
    host = FunctionHost(copy_sample_app(tmp_path, only_http=True), {}, folder=tmp_path).start()
    url, key = host.url, host.key
    try:
        host.kill()
        host.start()
        assert host.url == url
        assert requests.get(f"{url}/api/pid", headers={"x-functions-key": key}).ok
    finally:
        host.stop()


def test_stop_lets_a_running_call_end(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    host = FunctionHost(copy_sample_app(tmp_path, only_http=True), {}, {"default": "k"}, folder=tmp_path).start()
    with ThreadPoolExecutor(1) as threads:
        pending = threads.submit(requests.get, f"{host.url}/api/slow?seconds=1&code=k")
        wait_for(lambda: '"Executing", "function": "slow"' in host.log.read_text())
        host.stop()
        assert pending.result().text == "late"


def test_app_sees_its_settings_and_none_of_this_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of the developer")
    app = tmp_path / "app"
    app.mkdir()
    (app / "host.json").write_text('{"version": "2.0"}')
    (app / "function_app.py").write_text(
        "import json, os\nimport azure.functions as func\napp = func.FunctionApp(func.AuthLevel.ANONYMOUS)\n"
        "@app.route(route='env')\ndef env(req: func.HttpRequest) -> str:\n    return json.dumps(dict(os.environ))\n"
    )
    with FunctionHost(app, {"MINE": "1"}, folder=tmp_path) as host:
        seen = requests.get(f"{host.url}/api/env").json()

    assert seen["MINE"] == "1"
    assert "AZURE_CLIENT_SECRET" not in seen
    assert host.key not in str(seen)
    assert host.master_key not in str(seen)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"host.json": "{}"}, "version is None"),
        ({"host.json": '{"version": "2.0"}'}, "function_app.py is missing"),
        ({"host.json": '{"version": "2.0"}', "function_app.py": "import not_there"}, "No module named 'not_there'"),
        ({"host.json": '{"version": "2.0"}', "function_app.py": "import os; os._exit(5)"}, r"exit code 5"),
    ],
)
def test_app_that_does_not_load_is_named_with_cause_and_fix(
    tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for name, content in files.items():
        (app / name).write_text(content)

    with pytest.raises(ServiceNotStarted, match=complaint) as failure:
        FunctionHost(app, {}, folder=tmp_path / "host").start()

    assert "hint: " in str(failure.value)


def test_app_without_its_storage_connection_is_refused(tmp_path: Path) -> None:
    app = copy_sample_app(tmp_path)

    with pytest.raises(ServiceNotStarted, match="have no connection 'AzureWebJobsStorage'"):
        FunctionHost(app, {"JOURNAL": "j", "WORK_QUEUE": "work"}, folder=tmp_path / "host").start()
