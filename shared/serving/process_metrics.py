"""Metrics of every process: resources, version, and when its certificates expire."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography import x509
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    Metric,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_SUFFIX = "certificate"


def process_registry(settings: Iterable[tuple[str, Any]]) -> CollectorRegistry:
    """Return a registry with the metrics of the process.

    Args:
        settings: names and values; paths whose names end with "certificate" are watched.
    """
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    build = Info("compactface_build", "The software that runs.", registry=registry)
    build.info({"version": version("compactface")})
    certificates = {
        name: value
        for name, value in settings
        if name.endswith(_SUFFIX) and isinstance(value, Path)
    }
    registry.register(_Certificates(certificates))
    return registry


class _Certificates(Collector):
    """Reads the files at every scrape, since certificates are replaced in place."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def collect(self) -> Iterable[Metric]:
        expiry = GaugeMetricFamily(
            "compactface_certificate_expiry_timestamp_seconds",
            "When the first certificate of a setting's file expires; absent if it is unreadable.",
            labels=("certificate",),
        )
        for name, file in self._files.items():
            try:
                chain = x509.load_pem_x509_certificates(file.read_bytes())
            except (OSError, ValueError):
                continue
            first = min(certificate.not_valid_after_utc for certificate in chain)
            expiry.add_metric((name,), first.timestamp())
        yield expiry
