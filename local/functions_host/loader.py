"""Loading function_app.py as Azure's Python worker does: one app, every function's bindings held against its signature.

Uses the public azure-functions API alone. What Azure refuses is refused here too, so that a mistake is found on the laptop;
a differential test holds these rules against Microsoft's own runtime package.
"""

from __future__ import annotations

import importlib
import inspect
import json
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func

from local.functions_host.settings import AppRefused

TRIGGERS = {"httpTrigger", "queueTrigger", "timerTrigger"}
OUTPUTS = {"http", "queue"}
RETURN = "$return"
# Not annotated by the package: binding type -> the converter that decodes inputs and encodes outputs.
converters: Any = func.get_binding_registry()  # type: ignore[no-untyped-call]


class LoadedFunction:
    """One function of the app with its bindings; `plain` are the bindings that pass text or bytes as they are."""

    def __init__(
        self, name: str, call: Callable[..., Any], bindings: list[dict[str, Any]], plain: set[str], *, context: bool
    ) -> None:
        self.name = name
        self.call = call
        self.bindings = bindings
        self.plain = plain
        self.trigger = next(binding for binding in bindings if binding["type"] in TRIGGERS)
        self.outputs = {binding["name"]: binding for binding in bindings if is_output(binding)}
        self.is_async = inspect.iscoroutinefunction(call)
        self.wants_context = context

    def describe(self) -> dict[str, Any]:
        """Return what the host needs to know."""
        return {"name": self.name, "trigger": self.trigger, "bindings": self.bindings}


def is_output(binding: Mapping[str, Any]) -> bool:
    return str(binding["direction"]).upper() == "OUT"


def load_app(folder: Path) -> dict[str, LoadedFunction]:
    """Import function_app.py and return its functions by name; raise AppRefused as Azure would refuse the app."""
    script = folder / "function_app.py"
    if not script.exists():
        raise AppRefused(f"{script} is missing", "the Python V2 model is one function_app.py in the app's folder")
    module = _import_app()
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        found = "no" if not apps else "more than one"
        raise AppRefused(
            f"{script} defines {found} top level function app instance", "define exactly one: app = func.FunctionApp()"
        )
    try:
        functions = apps[0].get_functions()
    except ValueError as error:
        raise AppRefused(f"{script}: {error}", "fix the decorators of that function") from None
    loaded = [
        check_function(str(function.get_function_name()), function.get_user_function(), function.get_raw_bindings())
        for function in functions
    ]
    return {function.name: function for function in loaded}


def _import_app() -> ModuleType:
    try:
        return importlib.import_module("function_app")
    except ImportError as error:
        raise AppRefused(
            f"function_app.py cannot be imported: {error}", "is the module in requirements.txt and in the app's folder?"
        ) from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise AppRefused(
            f"function_app.py failed while it was imported: {type(error).__name__}: {error}",
            f"it was raised at {where.filename}:{where.lineno}",
        ) from error


def check_function(name: str, call: Callable[..., Any], raw_bindings: list[str]) -> LoadedFunction:
    """Hold a function's bindings against its Python signature, both ways, and each annotation against its binding."""
    bindings: list[dict[str, Any]] = [json.loads(raw) for raw in raw_bindings]
    for binding in bindings:
        if binding["type"] not in (OUTPUTS if is_output(binding) else TRIGGERS):
            raise _refusal(
                name,
                f"the local host does not know the binding {binding['type']!r}",
                f"it knows {', '.join(sorted(TRIGGERS | OUTPUTS))}; reach other services through their SDK",
            )
        if binding["type"] == "queueTrigger" and binding.get("dataType", "STRING") not in ("STRING", "UNDEFINED"):
            raise _refusal(
                name,
                f"the local host hands messages on as text, and the trigger's data type is {binding['dataType']}",
                "leave data_type out",
            )
    annotations = _annotations(name, call)
    parameters = set(inspect.signature(call).parameters)
    bound = {binding["name"]: binding for binding in bindings if binding["name"] != RETURN}
    context = "context" in parameters and "context" not in bound
    if context:
        parameters.discard("context")
        if "context" in annotations and getattr(annotations["context"], "__name__", "") != "Context":
            raise _refusal(
                name, "its 'context' parameter is not an azure.functions.Context", "annotate it func.Context"
            )
    if parameters - set(bound):
        raise _refusal(
            name,
            f"these parameters are in Python but have no binding: {sorted(parameters - set(bound))}",
            "name the parameter as the decorator does: an HTTP trigger's is 'req' unless trigger_arg_name says otherwise",
        )
    if set(bound) - parameters:
        raise _refusal(
            name,
            f"these bindings are not parameters in Python: {sorted(set(bound) - parameters)}",
            "add a parameter of the binding's name (an HTTP trigger's is 'req' unless trigger_arg_name says otherwise)",
        )
    plain = {each for each, binding in bound.items() if _check_annotation(name, binding, annotations)}
    returned = next((binding for binding in bindings if binding["name"] == RETURN), None)
    if returned is not None and "return" in annotations:
        _check_return(name, returned, annotations["return"])
    return LoadedFunction(name, call, bindings, plain, context=context)


def _annotations(name: str, call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except NameError as error:
        raise _refusal(
            name,
            f"an annotation cannot be resolved: {error}",
            "import the name at run time, not only for type checkers",
        ) from None


def _check_annotation(name: str, binding: Mapping[str, Any], annotations: Mapping[str, Any]) -> bool:
    """Check one parameter; return whether it is annotated as plain text or bytes, which pass as they are."""
    if binding["name"] not in annotations:
        return False
    annotation = annotations[binding["name"]]
    given = typing.get_origin(annotation) or annotation
    is_out = given is func.Out
    if is_out != is_output(binding):
        direction, wanted = ("out", "is func.Out[...]") if is_output(binding) else ("in", "is not func.Out")
        raise _refusal(
            name,
            f"binding {binding['name']} has direction '{direction}', but its annotation is {annotation!r}",
            f"annotate it so that it {wanted}",
        )
    if is_out:
        (annotation,) = typing.get_args(annotation) or (annotation,)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType) or not isinstance(
        typing.get_origin(annotation) or annotation, type
    ):
        raise _refusal(
            name, f"binding {binding['name']} has the non-type annotation {annotation!r}", "annotate it with one class"
        )
    if annotation in (str, bytes):
        return True
    converter = converters.get(binding["type"])
    check = converter.check_output_type_annotation if is_out else converter.check_input_type_annotation
    try:
        fits = check(annotation)
    except TypeError:
        fits = False
    if not fits:
        raise _refusal(
            name,
            f"the type of its {binding['name']} binding, {binding['type']!r}, does not match the annotation "
            f"{getattr(annotation, '__name__', annotation)}",
            "annotate it with the type that the binding gives, e.g. func.HttpRequest or func.QueueMessage",
        )
    return False


def _check_return(name: str, binding: Mapping[str, Any], annotation: Any) -> None:
    if not isinstance(annotation, type) or isinstance(annotation, types.GenericAlias):
        fits = False
    else:
        fits = converters.get(binding["type"]).check_output_type_annotation(annotation)
    if not fits:
        raise _refusal(
            name,
            f"its return annotation {annotation!r} does not match its {binding['type']!r} binding",
            "an HTTP function returns func.HttpResponse or str; functools.wraps copies the annotations of what it wraps, so "
            "a decorated handler needs its own: wrapper.__annotations__ = "
            '{"req": func.HttpRequest, "return": func.HttpResponse}',
        )


def _refusal(name: str, message: str, hint: str) -> AppRefused:
    return AppRefused(f"cannot load the {name} function: {message}", hint)
