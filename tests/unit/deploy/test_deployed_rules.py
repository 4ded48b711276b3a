"""Alert rules and dashboards as files; `serving/test_monitoring.py` runs their queries."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from tests.deployed import DASHBOARDS, RULES, rules

PROMTOOL = shutil.which("promtool")
without_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


@without_promtool
def test_alerts_fire_when_they_should_and_say_why() -> None:
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", RULES / "alerts_test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    cases = yaml.safe_load((RULES / "alerts_test.yml").read_text())["tests"]
    fired = {
        expected["alertname"]
        for case in cases
        for expected in case["alert_rule_test"]
        if expected["exp_alerts"]
    }
    assert fired == {name for name, _ in rules("alert")}


@without_promtool
@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.mtls.yml"])
def test_the_configurations_are_valid(name: str, tmp_path: Path) -> None:
    """With the files that are mounted beside them."""
    text = (RULES / name).read_text()
    for file in ("ca.pem", "metrics.token"):
        (tmp_path / file).write_text("x")
    text = text.replace("/etc/compactface", str(tmp_path))
    for file in ("alerts.yml", "recording.yml"):
        (tmp_path / file).write_text((RULES / file).read_text())
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        [str(PROMTOOL), "check", "config", tmp_path / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_have_an_id_and_panels_apart() -> None:
    names = set()
    for file in DASHBOARDS:
        dashboard: dict[str, Any] = json.loads(file.read_text())
        names.add(dashboard["uid"])
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, f"{file.name}: {panel['title']}"
            taken |= cells
            assert at["x"] + at["w"] <= 24
    assert len(names) == 3
