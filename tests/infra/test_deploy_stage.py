from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from infra_fakes import FACTORY_ID

from infra.deploy.cli import STAGES
from infra.deploy.errors import InvalidSource, MissingSettingError
from infra.deploy.source import Item, Key, load_source
from infra.deploy.stage import VARIABLE, Stage, apply_overrides, load_stage

Write = Callable[..., Path]


def overridden(folder: Path, overrides: dict[str, dict[str, Any]]) -> dict[Key, Item]:
    return apply_overrides(load_source(folder), Stage(name="test", factory_id=FACTORY_ID, overrides=overrides))


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_our_own_stages_fit_our_own_folder(stage: str) -> None:
    variables = {name: f"value-of-{name}" for name in VARIABLE.findall((STAGES / f"{stage}.json").read_text())}

    loaded = load_stage(STAGES / f"{stage}.json", variables | {"SEALIFT_FACTORY_ID": FACTORY_ID})
    items = apply_overrides(load_source(Path("adf")), loaded)

    assert (
        items["linkedService", "key_vault"].properties["typeProperties"]["baseUrl"] == "value-of-SEALIFT_KEY_VAULT_URL"
    )


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_stage_file_leaves_no_address_of_the_laptop(stage: str) -> None:
    variables = dict.fromkeys(VARIABLE.findall((STAGES / f"{stage}.json").read_text()), "https://set/")
    loaded = load_stage(STAGES / f"{stage}.json", variables | {"SEALIFT_FACTORY_ID": FACTORY_ID})

    items = apply_overrides(load_source(Path("adf")), loaded)

    text = json.dumps([dict(item.properties) for item in items.values()])
    for placeholder in (
        "sealiftraw",
        "sealiftencrypted",
        "sealifthost",
        "sealift.vault",
        "sealift.azurewebsites",
        "00000000-0000",
    ):
        assert placeholder not in text


def test_an_override_replaces_by_key_by_name_and_by_index(write: Write) -> None:
    items = overridden(
        write(),
        {
            "linkedService.vault": {"typeProperties.baseUrl": "https://v/"},
            "pipeline.inn*": {
                "activities['Copy it'].policy.retry": 3,
                "activities[1].typeProperties.waitTimeInSeconds": 60,
            },
        },
    )

    inner = items["pipeline", "inner"].properties["activities"]
    assert items["linkedService", "vault"].properties["typeProperties"]["baseUrl"] == "https://v/"
    assert inner[0]["policy"]["retry"] == 3
    assert inner[1]["typeProperties"]["waitTimeInSeconds"] == 60


def test_an_override_leaves_the_source_as_it_was(write: Write) -> None:
    source = load_source(write())

    apply_overrides(
        source,
        Stage(name="t", factory_id=FACTORY_ID, overrides={"linkedService.vault": {"typeProperties.baseUrl": "x"}}),
    )

    assert source["linkedService", "vault"].properties["typeProperties"]["baseUrl"] == "https://placeholder/"


def test_a_plus_adds_what_is_not_there(write: Write) -> None:
    items = overridden(write(), {"linkedService.vault": {"+typeProperties.extra": "MSI"}})

    assert items["linkedService", "vault"].properties["typeProperties"]["extra"] == "MSI"


@pytest.mark.parametrize(
    ("overrides", "message", "hint"),
    [
        ({"linkedService.vualt": {"type": "x"}}, "nothing is named 'linkedService.vualt'", "linkedService.vault"),
        ({"linkedService.vault": {"typeProperties.baseURL": "x"}}, "there is no 'typeProperties.baseURL'", "baseUrl"),
        ({"linkedService.vault": {"typeProps.baseUrl": "x"}}, "there is no 'typeProps.baseUrl'", "typeProperties"),
        ({"pipeline.inner": {"activities['Copy'].type": "x"}}, "there is no", "Copy it"),
        ({"pipeline.inner": {"activities[7].type": "x"}}, "there is no", "7"),
        ({"linkedService.vault": {"+typeProperties.baseUrl": "x"}}, "is there already", "drop the +"),
        ({"linkedService.vault": {"a..b": "x"}}, "is not a path", "a.b"),
        ({"linkedService.vault": {"": "x"}}, "an empty path", "a.b"),
    ],
)
def test_an_override_that_meets_nothing_is_an_error(
    write: Write, overrides: dict[str, dict[str, Any]], message: str, hint: str
) -> None:
    with pytest.raises(InvalidSource) as caught:
        overridden(write(), overrides)

    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"maxDeletes": 1}, "unknown field 'maxDeletes'"),
        ({"overrides": {"linkedServices.x": {}}}, "names no kind of item"),
        ({"factory": "adf-test"}, "is not the id of a data factory"),
    ],
)
def test_a_wrong_stage_file_is_refused(stage_file: Callable[..., Path], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSource, match=message):
        load_stage(stage_file(**fields) / "test.json", {"SEALIFT_FACTORY_ID": FACTORY_ID})


def test_an_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(InvalidSource, match="there is no stage 'test'") as caught:
        load_stage(STAGES / "test.json", {})

    assert caught.value.hint == "the stages are dev, prod"


def test_a_variable_that_is_not_set_is_an_error(stage_file: Callable[..., Path]) -> None:
    with pytest.raises(MissingSettingError, match="needs SEALIFT_FACTORY_ID") as caught:
        load_stage(stage_file() / "test.json", {})

    assert "azd env get-values" in caught.value.hint
