"""`penstock settings`: every setting is listed, explained, and in the deployment's example."""

import json
import os
import subprocess
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from penstock.cli import app
from penstock.registry import NAMES
from penstock.serving import SettingsInvalid, check_settings, observe
from penstock.settings_listed import ALIKE, misspelt, settings_of, unit_of
from shared.platform.settings import ProcessSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
MARK = "# All below is what `penstock settings --env` prints"
CLASSES = [ProcessSettings, *(import_module(f"services.{name}.settings").Settings for name in NAMES)]
FIELDS = {field: info for settings in CLASSES for field, info in settings.model_fields.items()}


def listed(*arguments):
    done = CliRunner().invoke(app, ["settings", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("field", FIELDS)
def test_a_setting_says_what_it_is_and_what_its_number_counts(field):
    info = FIELDS[field]
    assert info.description, "give it a description"
    is_number = any(kind in str(info.annotation) for kind in ("int", "float"))
    assert bool(unit_of(info)) == is_number, "say its Unit"


@pytest.mark.parametrize("settings", CLASSES, ids=lambda settings: settings.__module__)
def test_a_whole_number_has_a_least_and_a_most(settings):
    """Without a most, one that was mistyped fails later: in a query, or for want of memory."""
    found = settings.model_json_schema()["properties"]
    for field in settings.model_fields:
        kinds = found[field].get("anyOf", [found[field]])
        for kind in (each.get("additionalProperties", each) for each in kinds):
            if kind.get("type") == "integer":
                assert {"minimum", "exclusiveMinimum"} & set(kind), f"{field} has no least"
                assert {"maximum", "exclusiveMaximum"} & set(kind), f"{field} has no most"


@pytest.mark.parametrize(
    "words", ["settings", "--version"]
)  # the one fills a buffer, the other is written at the end
def test_a_full_disk_is_said_in_one_line(words):
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "penstock", words]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered
        )
    assert (done.returncode, done.stderr) == (1, "not all could be written: No space left on device\n")


def test_all_settings_are_listed_with_who_reads_them():
    found = {each["variable"]: each for each in json.loads(listed("--json"))}
    assert {f"PENSTOCK_{field}".upper() for field in FIELDS} <= set(found)
    assert {"PENSTOCK_HOME", "PENSTOCK_SECRETS_DIR", "AWS_REGION", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= set(
        found
    )
    slice_bytes = found["PENSTOCK_SLICE_BYTES"]
    assert (slice_bytes["default"], slice_bytes["unit"]) == ("4194304", "bytes")
    assert slice_bytes["services"] == ["processor"]
    assert found["PENSTOCK_DATABASE_URL"]["services"] == list(NAMES)
    assert found["PENSTOCK_DATABASE_URL"]["required"]
    assert found["PENSTOCK_LOG_LEVEL"]["choices"] == ["debug", "info", "warning", "error"]
    assert found["PENSTOCK_WEBHOOK_PORTS"]["default"] == "80,443,1024-65535"
    secrets = {variable for variable, each in found.items() if each["secret"]}
    assert secrets >= {
        f"PENSTOCK_{field}".upper()
        for field, info in FIELDS.items()
        if not info.repr or SecretStr.__name__ in str(info.annotation)
    } - {"PENSTOCK_STORE_URL"}


@pytest.mark.parametrize("service", NAMES)
def test_those_of_one_service_are_what_it_reads(service):
    variables = {each["variable"] for each in json.loads(listed(service, "--json"))}
    own = import_module(f"services.{service}.settings").Settings.model_fields | ProcessSettings.model_fields
    settings = {f"PENSTOCK_{field}".upper() for field in FIELDS}
    assert variables & settings == {f"PENSTOCK_{field}".upper() for field in own}


def test_each_default_would_be_read_as_it_is_listed(environment, monkeypatch):
    """What `--env` prints may be taken over line by line."""
    for setting in settings_of():
        if setting.default is not None and setting.variable.startswith("PENSTOCK_"):
            monkeypatch.setenv(setting.variable, setting.default)
    check_settings(NAMES)
    for settings in CLASSES:
        read, by_default = settings(), {field: info.default for field, info in settings.model_fields.items()}
        for field, default in by_default.items():
            if (
                f"PENSTOCK_{field}".upper() not in environment
                and default
                and isinstance(default, int | float | str)
            ):
                assert getattr(read, field) == default, field


def test_the_example_of_the_deployment_has_all_of_them():
    _, _, below = (DEPLOY / ".env.example").read_text().partition(MARK)
    settings = below.partition("\n\n")[2]
    assert settings == listed("--env"), "put what `penstock settings --env` prints below the mark"


@pytest.mark.parametrize("service", NAMES)
def test_compose_hands_every_setting_on(service):
    given = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][service]
    secrets = [each if isinstance(each, str) else each["source"] for each in given["secrets"]]
    own = import_module(f"services.{service}.settings").Settings.model_fields
    assert {f"PENSTOCK_{field}".upper() for field in own} <= {*given["environment"], *secrets}


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("PENSTOCK_SLICE_BYTE", "PENSTOCK_SLICE_BYTES"),
        ("PENSTOCK_DATABSE_URL", "PENSTOCK_DATABASE_URL"),
        ("PENSTOCK_LOGLEVEL", "PENSTOCK_LOG_LEVEL"),
        ("PENSTOCK_SLICE_BYTES", None),  # right
        ("PENSTOCK_PORT", None),  # compose's
        ("PENSTOCK_MY_OWN_THING", None),  # somebody's
        ("PENSTOCK_UPLOAD_SERVICE_HOST", None),  # Kubernetes' own
        ("PENSTOCK_UPLOAD_PORT_8000_TCP", None),
        ("PENSTOCK_TEST_BUS_URL", None),
        ("LOG_LEVEL", None),
    ],
)
def test_a_variable_that_looks_like_a_typing_error_is_noticed(variable, meant):
    assert misspelt({variable: "1"}) == ({variable: meant} if meant else {})


def test_no_setting_looks_like_an_error_for_another():
    """A container may be given the settings of services that are not in it, which it does not know."""
    known = {each.variable for each in settings_of()}
    assert not [name for name in known if get_close_matches(name, known - {name}, n=1, cutoff=ALIKE)]


def test_nothing_that_penstock_reads_is_taken_for_an_error():
    assert misspelt({each.variable: "" for each in settings_of()}) == {}
    assert misspelt(dict.fromkeys(os.environ, "")) == {}


@pytest.mark.parametrize(
    ("session_url", "said"),
    [
        ("", "PENSTOCK_DATABASE_SESSION_URL must be set with PENSTOCK_DATABASE_POOLER=transaction"),
        ("mysql://db/penstock", "PENSTOCK_DATABASE_SESSION_URL is wrong: it must begin with postgresql://"),
    ],
)
def test_a_pooler_alone_is_not_enough(environment, monkeypatch, session_url, said):
    monkeypatch.setenv("PENSTOCK_DATABASE_POOLER", "transaction")
    monkeypatch.setenv("PENSTOCK_DATABASE_SESSION_URL", session_url)
    with pytest.raises(SettingsInvalid, match=said):
        check_settings(NAMES)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must begin with http://, https://"),
        ("PENSTOCK_STOP_SECONDS", "nan", "PENSTOCK_STOP_SECONDS is wrong"),
        ("PENSTOCK_STOP_SECONDS", "-1", "PENSTOCK_STOP_SECONDS is wrong"),
        ("PENSTOCK_LEASE_SECONDS", "inf", "PENSTOCK_LEASE_SECONDS is wrong"),
    ],
)
def test_what_would_fail_later_is_refused_at_the_start(environment, monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsInvalid, match=said):
        check_settings(NAMES)


def test_what_the_library_of_traces_refuses_is_one_line(environment, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    monkeypatch.setattr("penstock.serving.logs.configure", lambda **_: None)
    with pytest.raises(SettingsInvalid, match="OTEL_… is wrong: max_export_batch_size"):
        observe("upload")
