"""The verdict's counts, names and sentence."""

from __future__ import annotations

from dbt_runner.summary import Failed, clean_results, failed_nodes, node_name, sentence


def result(node: str, status: str, message: str | None = None, failures: int | None = None) -> dict[str, object]:
    return {"unique_id": node, "status": status, "message": message, "failures": failures}


def test_data_test_tells_a_count_and_a_model_its_error() -> None:
    failed = failed_nodes(
        [
            result("test.sealift.unique_a.1f", "fail", 'Got 3 results: "Ada"', 3),
            result("model.sealift.a", "error", 'invalid input syntax for type date: "Ada"'),
            result("unit_test.sealift.a.adds_up", "fail", "Ada differs"),
            result("model.sealift.b", "skipped"),
            result("test.sealift.not_null_a.2f", "pass"),
        ],
        {"model.sealift.a": "marts/a.sql"},
        [],
    )

    assert [(each.name, each.message) for each in failed] == [
        ("unique_a", "3 rows"),
        ("a", 'invalid input syntax for type date: "…"'),
        ("a.adds_up", "the rows differ from those that the test expects"),
    ]
    assert failed[1].path == "marts/a.sql"


def test_sentence_names_the_first_failure_and_counts_the_rest() -> None:
    failed = [Failed(id=name, name=name, status="fail", path="", message="2 rows") for name in ("one", "two")]

    text = sentence("failures", {"fail": 2, "pass": 5, "skipped": 3}, failed)

    assert text == "dbt: 2 of 10 nodes failed: one: 2 rows; 1 more failed; 3 skipped"


def test_stored_results_are_clean_too() -> None:
    document = clean_results({"results": [result("model.sealift.a", "error", 'type date: "Ada"')]}, [])

    assert document["results"][0]["message"] == 'type date: "…"'


def test_names_are_readable() -> None:
    assert node_name("model.sealift.a") == "a"
    assert node_name("test.sealift.not_null_a_id.1f2e") == "not_null_a_id"
    assert node_name("source.sealift.loyalty.members") == "loyalty.members"
