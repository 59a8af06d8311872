"""Names that two places must agree on: what the code, the pipelines and dbt use is what the template makes."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra_templates import ROOT, Template

DEPLOYED = [
    "function_app.py",
    *(f"{name}/**/*.py" for name in ("batches", "delivery", "encryption", "monitor", "partners")),
]
# Read by the Functions host, by azure-identity or by OpenTelemetry, not by our code.
READ_BY_THE_PLATFORM = {
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AZURE_CLIENT_ID",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
}
# Connection strings for `func start` with Azurite: never set in Azure, see test_no_output_and_no_setting_holds_a_secret.
LAPTOP_ONLY = {"AzureWebJobsStorage", "RawStorage", "EncryptedStorage", "PARTNERS_FOLDER"}
# Set by an operator who wants another value; docs/settings.md says which is the default.
OPTIONAL = {"SENDING_EXPIRES_MINUTES", "MONITOR", "MONITOR_SIGN_IN", "PUBLIC_URL"}
SET_BY_THE_PLATFORM = {"WEBSITE_HOSTNAME", "WEBSITE_AUTH_ENABLED"}


def sources() -> list[Path]:
    return sorted(path for pattern in DEPLOYED for path in ROOT.glob(pattern))


def settings_of(template: Template) -> dict[str, str]:
    [found] = [item for item in template.of("Microsoft.Web/sites/config") if item["name"].endswith("/appsettings")]
    settings: dict[str, str] = found["properties"]
    return settings


def settings_read() -> Iterator[str]:
    """Every name that the deployed code looks up in os.environ; {…} stands for a part that is computed."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key):
                    yield _text(key, path)
                case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"), args=[key, *_]):
                    yield _text(key, path)
                case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
                    yield _text(key, path)


def _text(key: ast.expr, path: Path) -> str:
    match key:
        case ast.Constant(value=str(name)):
            return name
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "{…}" for part in parts)  # type: ignore[misc]
        case ast.Name():
            return "{…}"
    raise AssertionError(f"{path}: a setting's name that this test cannot read: {ast.dump(key)}")


def test_every_setting_that_infra_writes_is_read(templates: dict[str, Template]) -> None:
    read = [re.escape(name).replace(re.escape("{…}"), ".+") for name in settings_read() if name != "{…}"]

    for name in settings_of(templates["long-name"]) | settings_of(templates["entra"]):
        assert name in READ_BY_THE_PLATFORM or any(re.fullmatch(pattern, name) for pattern in read), name


def test_every_setting_that_the_app_reads_is_written(templates: dict[str, Template]) -> None:
    written = settings_of(templates["long-name"])

    for name in settings_read():
        if "{…}" not in name and name not in LAPTOP_ONLY | OPTIONAL | SET_BY_THE_PLATFORM:
            assert name in written, name


def test_the_app_opens_its_stores_with_these_settings_and_no_others(templates: dict[str, Template]) -> None:
    settings = {
        name: re.sub(r"\[.*\]", "https://placeholder.invalid", value)
        for name, value in settings_of(templates["dev"]).items()
    }
    code = "import batches, function_app; batches.open_stores(); function_app._vault(); function_app._sftp_addresses()"

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert done.returncode == 0, done.stderr


def test_pages_are_on_where_they_are_asked_for_and_need_no_key_only_behind_the_sign_in(
    templates: dict[str, Template],
) -> None:
    names = ("MONITOR", "MONITOR_SIGN_IN", "PUBLIC_URL")
    found = {
        stage: tuple(settings_of(templates[stage]).get(name) for name in names)
        for stage in ("dev", "long-name", "entra")
    }

    assert found == {
        "dev": (None, None, None),
        "long-name": ("on", None, None),
        "entra": ("on", "platform", "https://sealift.example.com"),
    }


def test_what_belongs_to_laptops_only_is_not_set_in_azure(template: Template) -> None:
    assert not LAPTOP_ONLY & set(settings_of(template))


def test_the_queues_are_those_that_the_app_uses(templates: dict[str, Template]) -> None:
    text = "".join(path.read_text() for path in sources())
    used = {*re.findall(r'queue_name="([\w-]+)"', text), *re.findall(r'_queue\("([\w-]+)"\)', text)}
    made = {
        item["name"].split("/")[-1]
        for item in templates["dev"].of("Microsoft.Storage/storageAccounts/queueServices/queues")
    }

    assert used
    assert used <= made
    assert made == {"seal", "deliver", "seal-poison", "deliver-poison"}


def test_the_containers_are_those_that_the_app_and_the_pipelines_use(templates: dict[str, Template]) -> None:
    text = "".join(path.read_text() for path in sources())
    used = set(re.findall(r'get_container_client\("([\w-]+)"\)', text))
    for path in (ROOT / "adf" / "dataset").glob("*.json"):
        location = json.loads(path.read_text())["properties"]["typeProperties"].get("location", {})
        if isinstance(location.get("container"), str):
            used.add(location["container"])
    kind = "Microsoft.Storage/storageAccounts/blobServices/containers"
    made = {item["name"].split("/")[-1] for item in templates["dev"].of(kind)}

    assert {"raw", "encrypted", "batches"} <= used <= made


def secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("type") == "AzureKeyVaultSecret" and isinstance(value["secretName"], str):
            yield value["secretName"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from secrets_in(part)


def test_each_secret_of_a_linked_service_exists_and_the_factory_may_read_it(templates: dict[str, Template]) -> None:
    dev = templates["dev"]
    made = {item["name"].split("/")[-1] for item in dev.of("Microsoft.KeyVault/vaults/secrets")}
    granted = {row["scope"].split("/")[-1] for row in dev.access if row["principal"] == "factory"}
    used = {
        name
        for path in (ROOT / "adf" / "linkedService").glob("*.json")
        for name in secrets_in(json.loads(path.read_text()))
        if not name.startswith("@")
    }

    assert used == {"function-key", "warehouse-password"}
    assert used <= made
    assert used <= granted


def test_the_signing_keys_are_those_that_the_app_asks_for(templates: dict[str, Template]) -> None:
    keys = [item["name"].split("/")[-1] for item in templates["dev"].of("Microsoft.KeyVault/vaults/keys")]
    settings = settings_of(templates["dev"])

    assert sorted(keys) == sorted(settings[f"{kind}SIGNING_KEY"] for kind in ("", "OPENPGP_", "SMIME_"))


def test_dbt_finds_the_variables_that_it_needs(templates: dict[str, Template]) -> None:
    [group] = templates["dbt-image"].of("Microsoft.ContainerInstance/containerGroups")
    given = {item["name"] for item in group["properties"]["containers"][0]["properties"]["environmentVariables"]}
    profiles = (ROOT / "dbt_runner" / "project" / "profiles.yml").read_text()
    runner = (ROOT / "dbt_runner" / "settings.py").read_text()

    needed = set(re.findall(r"env_var\('(\w+)'\)", profiles))
    known = (
        needed | set(re.findall(r"env_var\('(\w+)',", profiles)) | set(re.findall(r'environment\.get\("(\w+)"', runner))
    )
    assert needed
    assert needed - {"DBT_ENV_SECRET_PG_PASSWORD"} <= given  # the runner fetches it for each command
    assert {"ARTIFACTS_URL", "EXIT_MODE"} <= given
    assert given - known == {"AZURE_CLIENT_ID"}  # azure-identity reads this one


def test_the_dead_man_s_switch_watches_what_the_app_logs(templates: dict[str, Template]) -> None:
    rule = templates["dev"].named("Microsoft.Insights/scheduledQueryRules", "no-delivery")
    query = rule["properties"]["criteria"]["allOf"][0]["query"]

    code = "".join(path.read_text() for path in (ROOT / "batches").glob("*.py"))
    events = re.findall(r'Message has "([\w.]+)"', query)
    assert events == ["batch.delivered", "batch.purged"]
    assert all(f'log_event("{event}"' in code for event in events)
    assert "ago(26h)" in query


def test_the_certificate_alert_waits_for_what_the_app_logs(templates: dict[str, Template]) -> None:
    rule = templates["dev"].named("Microsoft.Insights/scheduledQueryRules", "certificate")
    query = rule["properties"]["criteria"]["allOf"][0]["query"]

    assert """startswith "secret '" and Message has "ends in\"""" in query
    assert """log.warning("secret '%s': %s\"""" in (ROOT / "encryption" / "vault.py").read_text()
    assert " ends in {days} days" in (ROOT / "encryption" / "certificates.py").read_text()


def test_the_stage_files_name_variables_that_the_template_puts_out(templates: dict[str, Template]) -> None:
    for stage in ("dev", "prod"):
        text = (ROOT / "infra" / "stages" / f"{stage}.json").read_text()
        assert set(re.findall(r"\$\{(\w+)\}", text)) <= set(templates[stage].outputs)


def test_the_hooks_read_variables_that_the_template_puts_out(templates: dict[str, Template]) -> None:
    text = "".join(path.read_text() for path in (ROOT / "infra" / "hooks").glob("*.py"))

    assert set(re.findall(r'setting\("(\w+)"\)', text)) <= set(templates["dev"].outputs)
