"""What is deployed to watch the services: dashboards, rules and configurations."""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "prometheus"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


def panels() -> Iterator[tuple[str, str]]:
    """Name and query of every target of every panel."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "30s")
                yield f"{file.stem}: {panel['title']}: {target['refId']}", query


def rules(kind: str) -> Iterator[tuple[str, str]]:
    """Name and expression of the rules of a kind, "record" or "alert"."""
    for name in ("recording.yml", "alerts.yml"):
        for group in yaml.safe_load((RULES / name).read_text())["groups"]:
            for rule in group["rules"]:
                if kind in rule:
                    yield rule[kind], rule["expr"]
