"""The app that the function host's tests run: copied to a folder of its own as function_app.py."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route(route="echo/{name:alpha}/{number:int?}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    logging.getLogger("sample").info("echo for %s", req.route_params["name"])
    seen = {
        "method": req.method,
        "url": req.url,
        "query": dict(req.params),
        "route": dict(req.route_params),
        "headers": dict(req.headers),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route(route="echo/fixed")
def fixed(req: func.HttpRequest) -> str:
    return "the literal route"


@app.route(route="rest/{*path}")
def rest(req: func.HttpRequest) -> str:
    return str(req.route_params.get("path", "nothing"))


@app.route(route="accepted", methods=["POST"])
def accepted(req: func.HttpRequest) -> func.HttpResponse:
    headers = {"Location": "/api/echo/later", "Set-Cookie": "a=b; Path=/"}
    return func.HttpResponse(json.dumps(req.get_json()), status_code=202, headers=headers, mimetype="application/json")


@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
async def anyone(req: func.HttpRequest) -> str:
    return "open to all"


@app.route(route="closed", auth_level=func.AuthLevel.ADMIN)
def closed(req: func.HttpRequest) -> str:
    return "for the master key"


@app.route(route="boom")
def boom(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the cause, which is for the log alone")


@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]


@app.route(route="status/{code:int}")
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=int(req.route_params["code"]))


@app.route(route="bytes")
def binary(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(bytes(range(256)), mimetype="application/octet-stream")


@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    time.sleep(float(req.params.get("seconds", "600")))
    return "late"


@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return str(os.getpid())


@app.route(route="context")
def context_of(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    seen = {"function": context.function_name, "traceparent": context.trace_context.trace_parent}
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route(route="send", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="work", connection="AzureWebJobsStorage")
def send(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    message.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="msg", queue_name="%WORK_QUEUE%", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage) -> None:
    """Do what the message says, and note each try in the journal."""
    body = msg.get_body().decode()
    order = json.loads(body) if body.startswith("{") else {}
    note("work", f"{body} try {msg.dequeue_count}")
    if order.get("wait"):
        time.sleep(order["wait"])
    if order.get("fail", 0) >= (msg.dequeue_count or 0):
        raise RuntimeError("this try fails")
    note("done", body)


@app.queue_trigger(arg_name="msg", queue_name="work-poison", connection="AzureWebJobsStorage")
def poisoned(msg: func.QueueMessage) -> None:
    note("poison", msg.get_body().decode())


@app.queue_trigger(arg_name="text", queue_name="texts", connection="AzureWebJobsStorage")
def texts(text: str) -> None:
    note("text", text)


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
def nightly(timer: func.TimerRequest) -> None:
    note("timer", str(timer.past_due))


def note(what: str, text: str) -> None:
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(f"{os.getpid()} {what} {text}\n")
