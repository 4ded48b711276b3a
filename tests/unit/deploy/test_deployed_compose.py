"""Compose files of the two places: what a container may take, and what overrides replace."""

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from tests.deployed import DEPLOY

PLACES = {"edge": {"encoder", "camera"}, "centre": {"recognizer", "web", "prometheus", "grafana"}}


def services(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / name).read_text())["services"]
    return found


@pytest.mark.parametrize("place", PLACES)
def test_every_container_is_limited_and_hardened(place: str) -> None:
    found = services(f"compose.{place}.yaml")
    assert found.keys() - {"recognizer-gpu"} == PLACES[place]
    for name, service in found.items():
        assert {"mem_limit", "cpus", "pids_limit"} <= service.keys(), name
        assert {"max-size", "max-file"} == service["logging"]["options"].keys(), name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "${BIND:-127.0.0.1}:")), f"{name}: {port}"


def test_both_places_are_one_project_with_the_same_hardening() -> None:
    edge, centre = (
        yaml.safe_load((DEPLOY / f"compose.{place}.yaml").read_text()) for place in PLACES
    )
    assert edge["name"] == centre["name"]
    assert edge["x-hardened"] == centre["x-hardened"]
    assert not edge["services"].keys() & centre["services"].keys()


@pytest.mark.parametrize("place", PLACES)
def test_what_tls_replaces_is_not_a_list(place: str) -> None:
    """Docker replaces lists of commands and tests; podman-compose appends to them."""
    plain, secured = services(f"compose.{place}.yaml"), services(f"compose.{place}.mtls.yaml")
    assert secured.keys() <= plain.keys()
    for name, service in secured.items():
        for one in (service, plain[name]):
            assert isinstance(one.get("command", ""), str), name
            assert isinstance(one.get("healthcheck", {}).get("test", ""), str), name
