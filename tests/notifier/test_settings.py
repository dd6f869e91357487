"""What the operator sets about webhooks."""

from dataclasses import fields
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from services.notifier.analyses.thresholds import Thresholds
from services.notifier.settings import Settings
from services.notifier.targets.policy import PortRange, TargetPolicy


@pytest.fixture(autouse=True)
def _needed(monkeypatch):
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://x/y")
    monkeypatch.setenv("PENSTOCK_JWT_SECRET", "0123456789abcdef" * 2)


def read(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setenv(f"PENSTOCK_WEBHOOK_{name}", value)
    return Settings()


def test_by_default_only_public_addresses_are_called(monkeypatch):
    monkeypatch.delenv("PENSTOCK_WEBHOOK_ALLOW_PRIVATE", raising=False)
    assert read(monkeypatch).targets == TargetPolicy()
    assert list(map(str, TargetPolicy().ports)) == ["80", "443", "1024-65535"]


def test_all_of_it_can_be_set(monkeypatch):
    settings = read(
        monkeypatch,
        SCHEMES="https",
        PORTS="443, 8000-8999",
        ALLOW_PRIVATE="true",
        ALLOW_NETWORKS="10.1.0.0/16, fd00::/8,169.254.10.1",
        NAMESERVERS="1.1.1.1, 1.0.0.1:5353,2606:4700::1111,[2606:4700::1001]:53",
    )
    assert settings.targets == TargetPolicy(
        schemes=["https"],
        ports=[PortRange(443, 443), PortRange(8000, 8999)],
        allow_private=True,
        allow_networks=[ip_network("10.1.0.0/16"), ip_network("fd00::/8"), ip_network("169.254.10.1/32")],
    )
    assert settings.webhook_nameservers == [
        "1.1.1.1",
        "1.0.0.1:5353",
        "2606:4700::1111",
        "[2606:4700::1001]:53",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SCHEMES", "ftp", "it must be `https`, `http` or `https,http`"),
        ("SCHEMES", "", "it must be `https`, `http` or `https,http`"),
        ("PORTS", "", "it names no port"),
        ("PORTS", "443,http", "'http' is no port and no range of ports; write 443, or 1024-65535"),
        ("PORTS", "0", "'0' is no port"),
        ("PORTS", "9000-8000", "'9000-8000' is no port"),
        ("PORTS", "1-65536", "'1-65536' is no port"),
        ("ALLOW_NETWORKS", "10.1.2.3/8", "'10.1.2.3/8' is no network: 10.1.2.3/8 has host bits set"),
        ("ALLOW_NETWORKS", "intranet", "'intranet' is no network"),
        ("NAMESERVERS", "dns.example", "'dns.example' is no name server; write its address"),
        ("NAMESERVERS", "1.1.1.1:0", "'1.1.1.1:0' is no name server"),
        ("NAMESERVERS", "[1.1.1.1", "'[1.1.1.1' is no name server"),
        ("NAMESERVERS", "1.1.1", "'1.1.1' is no name server"),
    ],
)
def test_what_is_malformed_is_told(monkeypatch, name, value, said):
    with pytest.raises(ValidationError) as error:
        read(monkeypatch, **{name: value})
    assert f"webhook_{name.lower()}" in str(error.value)
    assert said in str(error.value)


def test_the_thresholds_of_the_analysis_can_be_set_within_reason(monkeypatch):
    assert Settings().thresholds == Thresholds()
    for field in fields(Thresholds):
        monkeypatch.setenv(f"PENSTOCK_ANALYSIS_{field.name.upper()}", "-1")
    with pytest.raises(ValidationError) as error:
        Settings()
    assert {problem["loc"][0] for problem in error.value.errors()} == {
        f"analysis_{field.name}" for field in fields(Thresholds)
    }
    for field in fields(Thresholds):
        monkeypatch.setenv(f"PENSTOCK_ANALYSIS_{field.name.upper()}", "1")
    monkeypatch.setenv("PENSTOCK_ANALYSIS_WINDOW_DAYS", "90")
    monkeypatch.setenv("PENSTOCK_ANALYSIS_ROW_COUNT_FILES", "5")
    ones = dict.fromkeys((field.name for field in fields(Thresholds)), 1)
    assert Settings().thresholds == Thresholds(**ones | {"window_days": 90, "row_count_files": 5})
