"""What deploy/ says agrees with the code, as far as can be seen without Docker."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from penstock.registry import NAMES, build
from shared.contracts.problems import CONTENT_TYPE, Unavailable
from shared.contracts.routes import ROUTES
from shared.platform import database
from shared.platform.service import Stopping, compose
from shared.platform.settings import ProcessSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = (DEPLOY / "compose.yaml").read_text()
README = (DEPLOY / "README.md").read_text()
NGINX = (DEPLOY / "gateway" / "nginx.conf").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def stages() -> dict[str, str]:
    """The instructions of each stage of the Dockerfile, by its name."""
    _, *parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, flags=re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def route_table() -> list[tuple[str, str]]:
    """nginx's map of paths to services: pattern and service, in order."""
    [table] = re.findall(r"map \$uri \$service \{(.*?)\n    \}", NGINX, flags=re.DOTALL)
    return [tuple(line.rstrip(";").split()) for line in table.strip().splitlines()]


def routed(path: str) -> str:
    for pattern, service in route_table():
        if pattern.startswith("~") and (found := re.search(pattern[1:].replace("?<", "?P<"), path)):
            return found["asked"] if service == "$asked" else service
    return dict(route_table())["default"]


@pytest.mark.parametrize("service", NAMES)
def test_a_service_has_a_target_with_its_own_code_only(service):
    copied = re.findall(r"^COPY (services/\w+) ", stages()[f"{service}-build"], flags=re.MULTILINE)
    assert copied == [f"services/{service}"]
    assert f'CMD ["serve", "{service}"' in stages()[service]


def test_every_migration_is_in_the_image_that_migrates():
    for service in NAMES:
        assert f"COPY services/{service}/migrations " in stages()["migrate-build"]


def test_the_images_run_as_a_fixed_user_and_get_signals():
    for stage in ("runtime", "gateway"):
        assert "USER 10001:10001" in stages()[stage]
        assert re.search(r'^ENTRYPOINT \["', stages()[stage], flags=re.MULTILINE)
        assert "HEALTHCHECK" in stages()[stage]


@pytest.mark.parametrize("service", NAMES)
def test_a_service_installs_what_the_project_says_pinned_as_the_tests_have_it(service):
    text = (DEPLOY / "requirements" / f"{service}.txt").read_text()
    pinned = pins(text)
    asked = names(PROJECT["dependencies"] + PROJECT["optional-dependencies"][service])
    assert asked <= set(pinned), "run deploy/pin"
    assert pinned.items() <= pins((ROOT / "requirements-dev.txt").read_text()).items(), "run deploy/pin"
    others = names(PROJECT["optional-dependencies"]["embedded"]) - {"penstock"}
    assert not others & set(pinned)


IMPORT_WITHOUT_OTHERS = """
import sys
from importlib.metadata import packages_distributions

service, pinned = sys.argv[1], set(sys.argv[2:])

class NotInTheImage:
    def find_spec(self, name, path=None, target=None):
        ours = packages.get(name.partition(".")[0])
        if ours and not ours & pinned:
            raise ModuleNotFoundError(f"{name} is not in the image of {service}")

packages = {name: {each.lower().replace("_", "-") for each in found} for name, found in packages_distributions().items()}
for ours in ("penstock", "services", "shared"):
    packages.pop(ours, None)
sys.meta_path.insert(0, NotInTheImage())
import penstock.cli, penstock.serving
__import__(f"services.{service}.app")
"""


@pytest.mark.parametrize("service", NAMES)
def test_a_service_starts_with_what_its_image_has_installed(service):
    pinned = pins((DEPLOY / "requirements" / f"{service}.txt").read_text())
    asked = [sys.executable, "-c", IMPORT_WITHOUT_OTHERS, service, *pinned]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((DEPLOY / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_pins_have_hashes_and_no_address(path):
    text = path.read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    assert all("==" in block and "--hash=sha256:" in block for block in blocks)


def test_the_gateway_routes_as_the_contract_says():
    exact = {pattern: service for pattern, service in route_table() if "/api/" in pattern}
    assert exact == {f"~^{prefix}(/|$)": service for prefix, service in ROUTES.items()}


def test_every_path_of_a_service_is_routed_to_it(environment):
    for service in NAMES:
        documented = compose([build(service, Stopping())]).openapi()["paths"]
        for path in documented:
            if not path.startswith("/health"):
                assert routed(path) == service, path
        assert routed(f"/health/{service}/ready") == service


def test_a_proxy_before_the_gateway_may_say_that_the_client_came_by_tls():
    [rows] = re.findall(
        r"map \$http_x_forwarded_proto \$forwarded_proto \{(.*?)\n    \}", NGINX, flags=re.DOTALL
    )
    (default, scheme), (pattern, said) = (row.rstrip(";").split() for row in rows.strip().splitlines())
    assert (default, scheme, said) == ("default", "$scheme", "$http_x_forwarded_proto")
    taken = [each for each in ("https", "http", "", "https, http", "ftp") if re.search(pattern[1:], each)]
    assert taken == ["https", "http"]
    assert re.findall(r"proxy_set_header X-Forwarded-Proto (.*);", NGINX) == ["$forwarded_proto"]


def test_the_gateway_words_its_own_problem_as_the_services_do():
    [document] = re.findall(r"return 503 '(\{\"type\".*\})'", NGINX)
    expected = Unavailable("service_unavailable", "$service does not answer at present").document()
    assert json.loads(document) == expected
    assert f"default_type {CONTENT_TYPE};" in NGINX


def test_compose_builds_every_image_of_ours_from_a_target():
    for file in ("compose.yaml", "compose.moto.yaml"):
        for name, service in yaml.safe_load((DEPLOY / file).read_text())["services"].items():
            if "build" in service:
                assert service["build"]["target"] in stages(), name
                assert service["image"].startswith(f"penstock/{service['build']['target']}:")


def test_every_service_is_restarted_hardened_and_waits_for_what_it_needs():
    services = yaml.safe_load(COMPOSE)["services"]
    assert set(NAMES) < set(services)
    for name in NAMES:
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        has_files = "PENSTOCK_STORE_URL" in services[name]["environment"]
        assert set(services[name]["depends_on"]) == {"migrate", "rabbitmq"} | (
            {"bucket"} if has_files else set()
        )
    for gateway in ("gateway", "gateway-tls"):
        assert set(services[gateway]["depends_on"]) == set(NAMES)
    # Prometheus for people on this machine only.
    published = {name for name, service in services.items() if "ports" in service}
    assert published == {"gateway", "gateway-tls", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for port in services["prometheus"]["ports"])


def test_each_profile_has_one_gateway_and_only_production_ends_tls():
    services = yaml.safe_load(COMPOSE)["services"]
    profiles = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert {name for name, named in profiles.items() if "dev" in named} == {"gateway"}
    assert {name for name, named in profiles.items() if "prod" in named} == {"gateway-tls"}
    assert not {"dev", "prod"} & {
        each for name, named in profiles.items() if "gateway" not in name for each in named
    }
    assert services["gateway-tls"]["secrets"] == ["tls.crt", "tls.key"]
    assert "./gateway/tls:/etc/nginx/tls:ro" in services["gateway-tls"]["volumes"]
    listen = (DEPLOY / "gateway" / "tls" / "listen.conf").read_text()
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in listen
    inherited = {line.split()[1] for line in NGINX.splitlines() if "proxy_set_header" in line}
    repeated = {line.split()[1] for line in listen.splitlines() if "proxy_set_header" in line}
    assert inherited == repeated  # nginx takes those of one level only


def test_whatever_runs_on_has_limits_and_bounded_logs():
    for name, service in yaml.safe_load(COMPOSE)["services"].items():
        assert "mem_limit" in service, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name


@pytest.mark.parametrize("service", NAMES)
def test_compose_gives_a_service_what_it_must_have_and_nothing_it_does_not_read(service):
    fields = (
        import_module(f"services.{service}.settings").Settings.model_fields | ProcessSettings.model_fields
    )
    given = yaml.safe_load(COMPOSE)["services"][service]
    files = {name for name in given["secrets"] if name.startswith(("PENSTOCK_", "AWS_"))}
    assert files == set(given["secrets"])
    assert not files & set(given["environment"])
    names = {name for name in files | set(given["environment"]) if name.startswith("PENSTOCK_")}
    # Nobody asks the processor anything but whether it is ready, and its figures.
    not_asked = {"cors_origins", "trusted_proxies", "body_idle_seconds", "request_seconds"}
    left_out = not_asked if service == "processor" else set()
    assert names - {"PENSTOCK_SECRETS_DIR"} == {f"PENSTOCK_{name}".upper() for name in set(fields) - left_out}
    assert given["environment"]["PENSTOCK_SECRETS_DIR"] == "/run/secrets"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= files or "PENSTOCK_STORE_URL" not in given[
        "environment"
    ]


def test_the_container_for_commands_has_the_settings_that_commands_read():
    """What forgets by age, what makes tokens and what runs jobs go by the installation's settings, not by defaults."""
    services = yaml.safe_load(COMPOSE)["services"]
    given = {
        name: {*service["environment"], *service["secrets"]}
        for name, service in services.items()
        if name in NAMES
    }
    retention = {name for names in given.values() for name in names if name.endswith("_RETENTION_DAYS")}
    read = given["notifier"] | given["results"] | retention
    others = {"PENSTOCK_SESSION_HOURS", "PENSTOCK_SENTRY_DSN"}  # of a process that serves
    operate = services["operate"]
    assert read - others <= {*operate["environment"], *operate["secrets"]}


def test_only_those_who_need_the_servers_reach_them():
    services = yaml.safe_load(COMPOSE)["services"]
    reach = {name for name, service in services.items() if "servers" in service.get("networks", ())}
    servers = {"postgres", "rabbitmq", "store"}
    assert reach == {*NAMES, "migrate", "operate", "bucket", *servers}
    assert all(services[name]["networks"] == ["servers"] for name in servers)
    assert all(services[name]["security_opt"] == ["no-new-privileges:true"] for name in services)


@pytest.mark.parametrize("service", NAMES)
def test_what_is_secret_is_a_file(service):
    fields = (
        import_module(f"services.{service}.settings").Settings.model_fields | ProcessSettings.model_fields
    )
    secret = {
        f"PENSTOCK_{name}".upper() for name, field in fields.items() if "SecretStr" in str(field.annotation)
    }
    given = yaml.safe_load(COMPOSE)["services"][service]
    assert not secret & set(given["environment"])


async def test_the_server_has_connections_for_all_services_and_more_processors(environment, monkeypatch):
    class Halted(Exception):
        pass

    def halt(*_):
        raise Halted

    engines = []
    create = database.create_async_engine

    def counted(*args, **options):
        engines.append(options["pool_size"] + options["max_overflow"])
        return create(*args, **options)

    monkeypatch.setattr(database, "create_async_engine", counted)
    monkeypatch.setattr("shared.platform.bus.rabbit.RabbitTransport.start", halt)
    monkeypatch.setenv("PENSTOCK_BUS_URL", "amqp://nowhere/")
    taken = {}
    for name in NAMES:
        engines.clear()
        service = build(name, Stopping())
        with pytest.raises(Halted):
            async with service.lifespan():
                pass
        taken[name] = sum(engines) + 1  # that of shared/platform/presence.py
    most = int(re.search(r"max_connections=(\d+)", COMPOSE)[1])
    said = f"take up to {sum(taken.values())} connections"
    of_each = ", ".join(f"{name} {count}" for name, count in taken.items())
    for text in (COMPOSE, README):
        assert said in text
        assert of_each in text
    # Eight processors, one process more of whatever deploy/roll replaces, and commands.
    assert sum(taken.values()) + 7 * taken["processor"] + max(taken.values()) + 10 <= most


def test_a_change_to_records_is_sent_to_one_container_only():
    [block] = re.findall(r"location /api/v1/records \{(.*?)\n        \}", NGINX, flags=re.DOTALL)
    assert "proxy_next_upstream off;" in block
    [others] = re.findall(r"location / \{(.*?)\n        \}", NGINX, flags=re.DOTALL)
    differ = {"proxy_pass http://$service:8000;", "proxy_pass http://127.0.0.1:8002;"}
    assert {line.strip() for line in others.splitlines()} - differ < {
        line.strip() for line in block.splitlines()
    }
    [stream] = re.findall(r"^stream \{(.*?)^\}", NGINX, flags=re.DOTALL | re.MULTILINE)
    assert "listen 127.0.0.1:8002;" in stream
    assert f"set $results {ROUTES['/api/v1/records']};" in stream


def test_the_example_settings_hold_no_secret_and_only_what_compose_reads():
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    secrets = set(yaml.safe_load(COMPOSE)["secrets"])
    assert not secrets & set(example)
    needed = set(re.findall(r"\$\{(\w+):\?[^}]*\}", COMPOSE))
    assert needed <= set(example)
    read = set(re.findall(r"\$\{(\w+)", COMPOSE)) | set(
        re.findall(r"^ +(\w+):$", COMPOSE, flags=re.MULTILINE)
    )
    assert set(example) - {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"} <= read


@pytest.fixture
def prepared(tmp_path):
    """What deploy/prepare makes in a folder of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")

    def prepare(*words: str) -> Path:
        for name in ("prepare", ".env.example"):
            shutil.copy(DEPLOY / name, tmp_path)
        subprocess.run([tmp_path / "prepare", *words], check=True, timeout=60)
        return tmp_path

    return prepare


def test_prepare_makes_every_secret_once(prepared):
    folder = prepared()
    made = {path.name: path.read_bytes() for path in (folder / "secrets").iterdir()}
    assert set(made) == set(yaml.safe_load(COMPOSE)["secrets"])
    assert {name for name, content in made.items() if not content} == {
        "PENSTOCK_CLICKHOUSE_URL",
        "PENSTOCK_DATABASE_SESSION_URL",
        "PENSTOCK_SENTRY_DSN",
    }
    assert made["POSTGRES_PASSWORD"] in made["PENSTOCK_DATABASE_URL"]
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert (folder / ".env").read_text() == (folder / ".env.example").read_text()
    prepared("prod")
    assert {path.name: path.read_bytes() for path in (folder / "secrets").iterdir()} == made
    assert "\nCOMPOSE_PROFILES=prod\n" in (folder / ".env").read_text()


def test_without_openssl_nothing_is_prepared(tmp_path):
    """A secret that could not be made would stay empty, as what is there stays as it is."""
    for name in ("prepare", ".env.example"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("bash", "env", "dirname", "mkdir", "chmod", "sed", "tail", "cat", "cp", "grep"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [tmp_path / "prepare"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "needs openssl" in done.stderr
    assert not (tmp_path / "secrets").exists()


def test_prepare_takes_over_the_secrets_of_an_env_file_from_before(prepared, tmp_path):
    (tmp_path / ".env").write_text(
        "PENSTOCK_JWT_SECRET='from-before'\nPOSTGRES_PASSWORD=elephant\n"
        "PENSTOCK_DATABASE_URL=postgresql://penstock:${POSTGRES_PASSWORD}@db:5432/penstock\n"
    )
    secrets = prepared("prod") / "secrets"
    assert (secrets / "PENSTOCK_JWT_SECRET").read_text() == "from-before"
    assert (
        secrets / "PENSTOCK_DATABASE_URL"
    ).read_text() == "postgresql://penstock:elephant@db:5432/penstock"
    assert {"COMPOSE_PROFILES=prod", "PENSTOCK_VERSION=dev"} <= set(
        (tmp_path / ".env").read_text().splitlines()
    )


def test_a_segment_of_wal_is_archived_once_and_another_never_takes_its_place(tmp_path):
    postgres = yaml.safe_load((DEPLOY / "compose.archive.yaml").read_text())["services"]["postgres"]
    [command] = re.findall(r"archive_command='([^']*)'", postgres["entrypoint"][2])
    archive, segment = tmp_path / "archive", tmp_path / "000000010000000000000001"
    archive.mkdir()

    def archived(content: str) -> bool:
        segment.write_text(content)
        words = (
            command.replace("%p", str(segment))
            .replace("%f", segment.name)
            .replace("/archive/", f"{archive}/")
        )
        return subprocess.run(["sh", "-c", words], capture_output=True, check=False).returncode == 0

    assert archived("first")
    assert archived("first"), "again, as after a crash"
    assert not archived("other")
    assert [(file.name, file.read_text()) for file in archive.iterdir()] == [(segment.name, "first")]


def test_the_labels_say_the_version():
    assert set(re.findall(r'image.version="([^"]+)"', DOCKERFILE)) == {PROJECT["version"]}
