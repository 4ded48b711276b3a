"""What every process says of itself."""

import shutil
from importlib.metadata import version
from pathlib import Path

from shared.serving.process_metrics import process_registry
from tests.services.authority import Authority

EXPIRY = "compactface_certificate_expiry_timestamp_seconds"


def test_the_version_is_shown() -> None:
    registry = process_registry([])
    labels = {"version": version("compactface")}
    assert registry.get_sample_value("compactface_build_info", labels) == 1
    assert registry.get_sample_value("process_start_time_seconds")


def test_a_certificate_is_read_again_when_it_is_replaced(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("server")
    settings = [("tls_certificate", certificate), ("tls_key", key), ("uplink_certificate", None)]
    registry = process_registry(settings)
    labels = {"certificate": "tls_certificate"}
    before = registry.get_sample_value(EXPIRY, labels)
    assert before is not None
    assert registry.get_sample_value(EXPIRY, {"certificate": "tls_key"}) is None
    longer = tmp_path / "longer"
    longer.mkdir()
    shutil.copy(Authority(longer, "other", days=9).certificate, certificate)
    after = registry.get_sample_value(EXPIRY, labels)
    assert after is not None
    assert after - before > 6 * 86_400
    certificate.write_text("no certificate")
    assert registry.get_sample_value(EXPIRY, labels) is None
    certificate.unlink()
    assert registry.get_sample_value(EXPIRY, labels) is None


def test_the_certificate_of_a_chain_that_expires_first_counts(tmp_path: Path) -> None:
    long, short = Authority(tmp_path, "long", days=9), Authority(tmp_path, "short")
    chain = tmp_path / "chain.pem"
    chain.write_text(long.certificate.read_text() + short.certificate.read_text())
    registry = process_registry([("certificate", chain), ("tls_certificate", short.certificate)])
    labels = [{"certificate": "certificate"}, {"certificate": "tls_certificate"}]
    assert len({registry.get_sample_value(EXPIRY, each) for each in labels}) == 1
