from pathlib import Path

from tests.benchmarks.edge_report import EdgeReport, write

REPORT = Path(__file__).parents[2] / "report"


def test_the_text_of_the_report_is_that_of_its_figures(tmp_path: Path) -> None:
    report = EdgeReport.model_validate_json((REPORT / "edge.json").read_bytes())
    write(tmp_path, report)
    for name in ("edge.json", "edge.md"):
        assert (tmp_path / name).read_text() == (REPORT / name).read_text()


def test_no_face_that_was_taken_is_missing() -> None:
    report = EdgeReport.model_validate_json((REPORT / "edge.json").read_bytes())
    assert report.power_losses > 0
    assert report.facts_checked > report.kills
    assert (report.facts_lost, report.facts_doubled, report.outage_lost) == (0, 0, 0)
