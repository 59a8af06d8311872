"""Microsoft's Python runtime package as the worker of the local host: `python microsoft_worker.py MARK PACKAGES APP DESCRIPTOR`.

Speaks the protocol of `local.functions_host.worker` with the host, and hands each call to the package as Azure does from
Python 3.13 on. So the host, the storage and the tests are the same, and only the engine that runs the app is another.
PACKAGES is the folder of the package, or empty; MARK a file that is made when the package has loaded an app.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def load(app: Path, packages: str) -> Any:
    """Return our description of the package's wire, with the app's folder in the place of ours."""
    from local.functions_host.worker import log_as_json

    sys.path[0:0] = [str(Path(__file__).parent)]
    sys.path += [packages] if packages else []
    import microsoft_runtime

    log_as_json()
    os.chdir(app)
    sys.path.remove(str(ROOT))
    sys.path[0] = str(app)
    return microsoft_runtime


async def answer(runtime: Any, functions: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    data = request["data"]
    if isinstance(data, dict) and "body" in data:
        data = {**data, "body": runtime.base64.b64encode(data["body"])}
    metadata = {name: value for name, value in request["metadata"].items() if value is not None}
    wanted = {"function": request["function"], "data": data, "metadata": metadata}
    wanted["traceparent"] = request["traceparent"]
    given = await runtime.call(functions, wanted)
    if "error" in given:
        return {"kind": "result", "id": request["id"], "error": str(given["error"]), "traceback": str(given["error"])}
    return {
        "kind": "result",
        "id": request["id"],
        "outputs": {n: plain(runtime, v) for n, v in given["outputs"].items()},
    }


def plain(runtime: Any, value: Any) -> Any:
    """Bring an output into the shape that the host takes."""
    if not (isinstance(value, dict) and "body" in value):
        return value if isinstance(value, list) else [value]
    return {**value, "headers": list(value["headers"].items()), "body": runtime.base64.b64decode(value["body"])}


def describe(name: str, bindings: list[dict[str, Any]]) -> dict[str, Any]:
    trigger = next(binding for binding in bindings if binding["type"].endswith("Trigger"))
    return {"name": name, "trigger": trigger, "bindings": bindings}


async def serve(runtime: Any, app: Path, host: Connection, mark: Path) -> None:
    indexed = await runtime.index(str(app))
    if "refused" in indexed:
        host.send({"kind": "refused", "message": indexed["refused"], "hint": "Microsoft's runtime refuses the app"})
        return
    functions = indexed["functions"]
    described = [describe(name, each["bindings"]) for name, each in functions.items()]
    host.send({"kind": "indexed", "functions": described})
    mark.touch()
    loop, ended, lock = asyncio.get_running_loop(), asyncio.Event(), threading.Lock()

    async def work(request: dict[str, Any]) -> None:
        reply = await answer(runtime, functions, request)
        with lock:
            host.send(reply)

    def read() -> None:
        try:
            while True:
                asyncio.run_coroutine_threadsafe(work(host.recv()), loop)
        except (EOFError, OSError):  # the host went
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    MARK, PACKAGES, APP, DESCRIPTOR = sys.argv[1:]
    asyncio.run(serve(load(Path(APP), PACKAGES), Path(APP), Connection(int(DESCRIPTOR)), Path(MARK)))
    os._exit(0)  # calls that still run have nobody to answer
