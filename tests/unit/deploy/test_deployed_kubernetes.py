"""The manifests as Kustomize renders them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from shared.serving.process_settings import ProcessSettings
from tests.deployed import DEPLOY
from web_gateway.settings import WebSettings

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
PLACES = {"edge": {"encoder"}, "centre": {"recognizer", "web"}}


def rendered(place: str) -> list[dict[str, Any]]:
    folder = DEPLOY / "kubernetes" / place
    done = subprocess.run(
        [str(KUBECTL), "kustomize", folder], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(done.stdout))


def settings_of(name: str) -> type[ProcessSettings]:
    from encoder_service.settings import EncoderSettings  # noqa: PLC0415 - only in this test
    from recognizer_service.settings import RecognizerSettings  # noqa: PLC0415

    return {"encoder": EncoderSettings, "recognizer": RecognizerSettings, "web": WebSettings}[name]


@pytest.mark.parametrize("place", PLACES)
def test_services_find_pods_that_are_hardened_limited_and_probed(place: str) -> None:
    documents = rendered(place)
    services = {each["metadata"]["name"]: each for each in documents if each["kind"] == "Service"}
    workloads = [each for each in documents if each["kind"] != "Service"]
    assert services.keys() == {each["metadata"]["name"] for each in workloads} == PLACES[place]
    for workload in workloads:
        template = workload["spec"]["template"]
        service = services[workload["metadata"]["name"]]["spec"]
        assert service["selector"].items() <= template["metadata"]["labels"].items()
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert {port["name"]: port["port"] for port in service["ports"]} == ports
        for probe in ("startupProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] == "/healthy"
        volumes = {each["name"] for each in pod["volumes"]} | {
            each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])
        }
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize("place", PLACES)
def test_every_variable_is_a_setting_and_every_file_is_mounted(place: str, tmp_path: Path) -> None:
    for workload in rendered(place):
        if workload["kind"] == "Service":
            continue
        name = workload["metadata"]["name"]
        pod = workload["spec"]["template"]["spec"]
        (secret,) = (each["secret"] for each in pod["volumes"] if "secret" in each)
        mounted = {item["path"] for item in secret["items"]}
        prefix = f"COMPACTFACE_{name.upper()}_"
        given = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        kind = settings_of(name)
        for variable, value in given.items():
            assert variable.removeprefix(prefix).lower() in kind.model_fields, variable
            folder, _, file = value.rpartition("/")
            assert folder != "/etc/compactface" or file in mounted, value
        # The images bind to all addresses, which the settings allow only with TLS.
        fields = {key.removeprefix(prefix).lower(): value for key, value in given.items()}
        fields |= {"host": "0.0.0.0", "metrics_host": "0.0.0.0"}  # noqa: S104
        if "models" in kind.model_fields:
            fields["models"] = str(tmp_path)
        kind.model_validate(fields)
