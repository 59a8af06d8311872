"""What is known of every node of production: its last status, and when the run began that gave it.

`state/verdicts.json` is written at the end of each run of production and says for every exposure and table which nodes it is
made of, so that a reader knows whether one consumer's data is fresh and tested, whatever became of the others. A run of some
nodes changes those alone. It holds names, statuses and times; never a message or a row.
"""

from __future__ import annotations

from typing import Any

VERDICTS = "state/verdicts.json"
VERSION = 1
_BUILT = ("model.", "seed.", "snapshot.")
_TESTS = ("test.", "unit_test.")


def merged(
    before: dict[str, Any] | None, manifest: dict[str, Any], results: list[dict[str, Any]], *, run_id: str, started: str
) -> dict[str, Any]:
    """Return the verdicts after a run: new ones for its nodes, the old for all others that the project still has."""
    known: dict[str, Any] = {**before.get("nodes", {}), **before.get("tests", {})} if before else {}
    statuses = {str(each["unique_id"]): str(each["status"]) for each in results}
    nodes: dict[str, Any] = {}
    tests: dict[str, Any] = {}
    for node, stated in {**manifest.get("nodes", {}), **manifest.get("unit_tests", {})}.items():
        verdict = _verdict(known.get(node), statuses.get(node), started)
        parents = [str(each) for each in stated.get("depends_on", {}).get("nodes", [])]
        if node.startswith(_BUILT):
            nodes[node] = {**verdict, "parents": [each for each in parents if each.startswith(_BUILT)]}
        elif node.startswith(_TESTS) and verdict["at"]:
            tests[node] = {**verdict, "of": [each for each in parents if each.startswith(_BUILT)]}
    return {
        "version": VERSION,
        "run_id": run_id,
        "started": started,
        "nodes": nodes,
        "tests": tests,
        "exposures": {
            str(each["name"]): [str(node) for node in each["depends_on"]["nodes"]]
            for each in manifest.get("exposures", {}).values()
        },
        "tables": {
            f"{manifest['nodes'][node].get('schema')}.{manifest['nodes'][node].get('alias') or ''}": node
            for node in nodes
        },
    }


def _verdict(before: dict[str, Any] | None, status: str | None, started: str) -> dict[str, str]:
    if status is not None:
        return {"status": status, "at": started}
    return {"status": str(before["status"]), "at": str(before["at"])} if before else {"status": "", "at": ""}
