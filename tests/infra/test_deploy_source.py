from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.errors import InvalidSource
from infra.deploy.source import in_order, load_source

Write = Callable[..., Path]


def test_what_is_referred_to_comes_first_and_triggers_come_last(write: Write) -> None:
    titles = [item.title for item in in_order(load_source(write()))]

    for first, second in [
        ("linkedService.storage", "dataset.files"),
        ("dataset.files", "pipeline.inner"),
        ("pipeline.inner", "pipeline.outer"),
        ("pipeline.outer", "trigger.daily"),
    ]:
        assert titles.index(first) < titles.index(second)
    assert titles[-1] == "trigger.daily"


def test_our_own_folder_loads() -> None:
    items = load_source(Path("adf"))

    assert ("trigger", "hourly_window") in items
    assert ("globalParameters", "default") in items


def test_global_parameters_come_from_the_factory_file_with_the_api_s_type_names(write: Write) -> None:
    folder = write({"factory/any": {"globalParameters": {"pollSeconds": {"type": "int", "value": 30}}}})

    item = load_source(folder)["globalParameters", "default"]

    assert item.properties == {"pollSeconds": {"type": "Int", "value": 30}}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("pipeline/a.json", {"name": "b", "properties": {}}, "its name is 'b'"),
        ("pipeline/a.json", {"name": "a"}, "an object with 'properties'"),
        ("pipelines/a.json", {"name": "a", "properties": {}}, "not a folder of a factory"),
        ("pipeline/deep/a.json", {"name": "a", "properties": {}}, "not a folder of a factory"),
        ("pipeline/a.json", "{", "Expecting"),
    ],
)
def test_a_file_that_cannot_be_deployed_is_named(write: Write, path: str, body: Any, message: str) -> None:
    file = write() / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(body if isinstance(body, str) else json.dumps(body))

    with pytest.raises(InvalidSource, match=message) as caught:
        load_source(file.parents[len(Path(path).parts) - 1])

    assert path in str(caught.value)
    assert caught.value.hint


def test_a_reference_to_nothing_is_refused(write: Write) -> None:
    folder = write({"dataset/files": None})

    with pytest.raises(InvalidSource, match=r"pipeline/inner\.json refers to dataset 'files'"):
        load_source(folder)


def test_the_built_in_runtime_needs_no_file(write: Write) -> None:
    runtime = {"referenceName": "AutoResolveIntegrationRuntime", "type": "IntegrationRuntimeReference"}

    load_source(write({"linkedService/vault": {"type": "AzureKeyVault", "connectVia": runtime}}))


def test_pipelines_that_call_each_other_are_refused(write: Write) -> None:
    call = {"typeProperties": {"pipeline": {"referenceName": "outer", "type": "PipelineReference"}}}

    with pytest.raises(InvalidSource, match=r"in a circle: .*pipeline\.outer"):
        load_source(write({"pipeline/inner": {"activities": [{"name": "Back", "type": "ExecutePipeline", **call}]}}))
