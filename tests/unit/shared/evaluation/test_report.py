"""The report as a whole: measured on an LFW of six people, rendered, and checked again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from command_line.evaluate import app
from shared.errors import FailedPrecondition, InvalidInput
from shared.evaluation import paper, rival_measurements
from shared.evaluation.baselines import Baseline, BaselineResult, measure_baseline
from shared.evaluation.panel import Panel
from shared.evaluation.render import markdown, render_report
from shared.evaluation.rows import Results, Row, read_results, write_results
from shared.model_directory import ModelDirectory
from tests.lfw_strangers import add_strangers
from tests.tiny_lfw import clouds, write_lfw
from tests.tiny_model import FAMILY, write_tiny_model

PHOTOS = Path(__file__).parents[3] / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = add_strangers(write_lfw(tmp_path_factory.mktemp("data")), count=3)
    (folder / "kodak").mkdir()
    Image.fromarray(clouds(1, height=80, width=64)).save(folder / "kodak/01.png")
    return folder


@pytest.fixture(scope="module")
def report(
    data: Path,
    tiny_models: Path,
    tiny_model: ModelDirectory,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A report in which the model's own extractor also stands in as the reference."""
    folder = tmp_path_factory.mktemp("report")
    options = {
        "data": data,
        "models": tiny_models,
        "reference-extractor": tiny_model.extractor_path,
        "rivals-at": "standard",
        "photos": PHOTOS,
        "cache": folder / "kept",
        "report": folder,
        "threads": 1,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    ran = CliRunner().invoke(app, ["report", *arguments])
    assert ran.exit_code == 0, ran.output
    return folder


@pytest.fixture(scope="module")
def results(report: Path) -> Results:
    return read_results(report / "results.json")


def test_rows_say_what_was_measured(results: Results) -> None:
    rows = {(row.judge, row.label, row.operating_point): row for row in results.rows}
    assert len(rows) == len(results.rows) == 2 * 3 + 3 + 1 + 6 * 2 * 2
    assert rows["own", "uncompressed", ""].bytes_mean is None
    assert rows["own", "standard", "standard"].images == 27
    assert rows["own", "standard", "standard"].samples == 12
    assert rows["own", "AVIF, file", "standard"].images == 12
    assert rows["own", "JPEG, file", "standard"].on_target == 0
    reached = rows["reference", "JPEG2000, payload", "standard"]
    assert reached.on_target == 1
    assert (
        0 < (reached.bytes_mean or 0) <= round(rows["own", "standard", "standard"].bytes_mean or 0)
    )
    assert not rows["own", "standard, unrounded", "standard"].quantized


def test_templates_cost_what_the_embedding_has_numbers(results: Results) -> None:
    rows = [row for row in results.rows if row.codec == "template"]
    assert [row.bytes_mean for row in rows] == [64, 128, 512]
    (uncompressed,) = (row for row in results.rows if row.codec == "none" and row.judge == "own")
    assert rows[-1].accuracy == pytest.approx(uncompressed.accuracy, abs=0.1)
    assert f"| {rows[0].label} | 64.0 |" in markdown(results)


def test_the_same_extractor_makes_the_same_matrix(results: Results) -> None:
    cells = {(cell.judge, cell.probe, cell.enrolled): cell.accuracy for cell in results.matrix}
    assert len(cells) == 2 * 9
    own = [row for row in results.rows if row.judge == "own" and row.quantized]
    for row in own:
        if row.codec in {"compactface", "none"}:
            form = row.operating_point or "uncompressed"
            assert cells["own", form, form] == row.accuracy
    assert (
        cells["own", "uncompressed", "uncompressed"]
        == cells["reference", "uncompressed", "uncompressed"]
    )


def test_differences_are_those_of_the_rows(results: Results) -> None:
    accuracy = {(row.judge, row.label): row.accuracy for row in results.rows}
    others = [(row.other, row.other_judge) for row in results.differences if row.codec == "paper"]
    assert others == [("uncompressed", "own"), ("A, uncompressed", "reference")]
    assert sum(row.codec == "standard" for row in results.differences) == 2 + 12
    for row in results.differences:
        other = accuracy[row.other_judge, row.other]
        assert row.difference == pytest.approx(accuracy[row.judge, row.codec] - other)
        assert row.low <= row.difference <= row.high


def test_people_are_identified_among_strangers_before_every_judge(results: Results) -> None:
    rows = {(row.judge, row.probe, row.enrolled): row for row in results.open_set}
    assert len(rows) == len(results.open_set) == 2 * 6
    for row in results.open_set:
        assert (row.subjects, row.mated_probes, row.non_mated_probes) == (6, 18, 3)
        assert row.rank1_interval[0] <= row.rank1 <= row.rank1_interval[1]
        assert 1 - row.rank1 <= row.fnir_at_fpir_1e2 <= row.fnir_at_fpir_1e3
    form = "uncompressed", "uncompressed"
    assert rows["own", *form].rank1 == rows["reference", *form].rank1


def test_the_run_is_recorded_and_the_sheets_are_drawn(report: Path) -> None:
    (run,) = map(json.loads, (report / "lfw_runs.jsonl").read_text().splitlines())
    assert list(run["points"]) == ["standard", "paper"]
    with Image.open(report / "faces.png") as faces:
        assert faces.width > 5 * 96
        assert faces.height > (3 + 6) * 112
    for name in ("kodak.png", "open_set.png", "rate_accuracy.png"):
        with Image.open(report / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")))) > 50


def test_text_and_plot_need_nothing_but_the_results(results: Results, tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", results)
    assert CliRunner().invoke(app, ["render", "--report", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "rate_accuracy.png").is_file()
    text = (tmp_path / "report.md").read_text()
    assert text == markdown(results)
    assert "| *paper: CompNet after joint training* | *347* | *89.48* |" in text
    assert "| *paper: CompNet after joint training* | 89.48 | 92.23 | 2.75 |" in text
    own = next(row for row in results.rows if row.label == "standard" and row.judge == "own")
    assert f"| standard | {own.bytes_mean:,.1f} | {100 * own.accuracy:.2f} |" in text
    assert "| A, uncompressed | reference |" in text
    assert (tmp_path / "open_set.png").is_file()
    assert "6 subjects enrolled with one photograph each, 18 other" in text
    same = next(row for row in results.open_set if row.probe == row.enrolled == "paper")
    low, high = (100 * share for share in same.rank1_interval)
    rank1 = f"{100 * same.rank1:.2f} ({low:.2f} to {high:.2f})"
    assert f"| own | paper | paper | {rank1} |" in text


def test_results_from_before_identification_are_rendered_without_it(
    results: Results, tmp_path: Path
) -> None:
    document = results.model_dump(mode="json", exclude={"open_set"})
    (tmp_path / "results.json").write_text(json.dumps(document))
    render_report(tmp_path)
    assert "strangers as probes" not in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "open_set.png").exists()


def test_a_report_in_time_agrees_with_a_new_measurement(
    report: Path, data: Path, tiny_models: Path
) -> None:
    arguments = ["check", f"--data={data}", f"--models={tiny_models}", "--threads=1"]
    ran = CliRunner().invoke(app, [*arguments, f"--report={report}"])
    assert ran.exit_code == 0, ran.output
    assert "standard: 4 pairs" in ran.stdout


def test_an_embellished_report_is_refuted(
    results: Results, data: Path, tiny_models: Path, tmp_path: Path
) -> None:
    better = [row.model_copy(update={"genuine": row.genuine + 0.01}) for row in results.slices]
    write_results(tmp_path / "results.json", results.model_copy(update={"slices": tuple(better)}))
    arguments = ["check", f"--data={data}", f"--models={tiny_models}", "--threads=1"]
    ran = CliRunner().invoke(app, [*arguments, f"--report={tmp_path}"])
    assert ran.exit_code == 1
    assert "standard: mean genuine similarity" in ran.output


def test_a_report_on_other_weights_is_out_of_date(
    results: Results, data: Path, tiny_models: Path, tmp_path: Path
) -> None:
    other = [row.model_copy(update={"weights_sha256": "0" * 64}) for row in results.slices]
    write_results(tmp_path / "results.json", results.model_copy(update={"slices": tuple(other)}))
    arguments = ["check", f"--data={data}", f"--models={tiny_models}", "--threads=1"]
    ran = CliRunner().invoke(app, [*arguments, f"--report={tmp_path}"])
    assert isinstance(ran.exception, FailedPrecondition)
    assert ran.exception.reason == "RESULTS_OF_OTHER_WEIGHTS"


def test_results_that_were_edited_are_refused(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(results.model_dump_json().replace('"accuracy":', '"precision":', 1))
    with pytest.raises(InvalidInput, match=r"results\.json does not hold results"):
        read_results(path)


def test_sizes_of_the_paper_are_those_of_the_issue() -> None:
    assert [round(row.bytes_mean) for row in paper.TABLE_1] == [2425, 347, 349, 221, 856, 220]


def test_a_report_of_one_point_and_one_rival_leaves_the_others_out(
    data: Path, tiny_models: Path, tmp_path: Path
) -> None:
    asked = ["report", "--data", str(data), "--models", str(tiny_models), "--point", "standard"]
    options = ["--photos", str(PHOTOS), "--cache", str(tmp_path / "kept"), "--threads", "1"]
    options += ["--rival", "WebP"]
    ran = CliRunner().invoke(app, [*asked, *options, "--report", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    found = read_results(tmp_path / "results.json")
    points = {row.operating_point for row in found.rows if row.codec == "compactface"}
    assert points == {"standard"} != {*ModelDirectory.load(tiny_models, FAMILY).manifest.codecs}
    ours = {"compactface", "none", "template"}
    rivals = {(row.codec, row.operating_point) for row in found.rows if row.codec not in ours}
    assert rivals == {("WebP", "standard")}
    shown = {row.operating_point for row in found.kodak if row.codec == "compactface"}
    assert shown == {"standard"}


def test_another_version_and_what_was_measured_before_stand_beside(
    data: Path, tmp_path: Path
) -> None:
    """As an imported extractor that reads the same maps does."""
    models = tmp_path / "models"
    write_tiny_model(models, tmp_path / "1", version="1", extractor_seed=7)
    write_tiny_model(models, tmp_path / "2", version="2")
    asked = ["report", "--data", str(data), "--models", str(models), "--beside", f"{FAMILY}/1"]
    asked += ["--photos", str(PHOTOS), "--cache", str(tmp_path / "kept"), "--threads", "1"]
    asked += ["--report", str(tmp_path)]
    ran = CliRunner().invoke(app, [*asked, "--rival=WebP", "--rivals-at=paper"])
    assert ran.exit_code == 0, ran.output
    found = read_results(tmp_path / "results.json")
    other, forms = f"{FAMILY}/1", {"uncompressed", "standard", "paper"}
    assert found.model == f"{FAMILY}/2"
    assert {row.label for row in found.rows if row.model == other} >= forms
    assert {row.probe for row in found.open_set if row.judge == other} == forms
    assert f"| {other}, standard | own |" in markdown(found)
    ran = CliRunner().invoke(app, [*asked, "--rival=thumbnail", "--rivals-at=standard"])
    assert ran.exit_code == 0, ran.output
    rows = read_results(tmp_path / "results.json").rows
    rivals = {(row.codec, row.operating_point) for row in rows}
    assert rivals >= {("WebP", "paper"), ("thumbnail", "standard")}
    assert not rivals & {("WebP", "standard"), ("thumbnail", "paper")}


def test_rivals_are_measured_once(
    data: Path,
    tiny_models: Path,
    tiny_model: ModelDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[tuple[str, tuple[str, ...]]] = []

    def noted(baseline: Baseline, faces: Any, panel: Panel, **more: Any) -> BaselineResult:
        measured.append((baseline.codec.name, tuple(panel.judges)))
        return measure_baseline(baseline, faces, panel, **more)

    monkeypatch.setattr(rival_measurements, "measure_baseline", noted)
    asked = ["report", "--data", str(data), "--models", str(tiny_models), "--point", "standard"]
    asked += ["--photos", str(PHOTOS), "--report", str(tmp_path), "--threads", "1"]
    rounds: list[list[Row]] = []
    reference = ["--reference-extractor", str(tiny_model.extractor_path)]
    for number, options in enumerate(
        (["--rival=WebP"], ["--rival=thumbnail"], ["--rival=thumbnail", *reference])
    ):
        kept = ["--cache", str(tmp_path / f"kept{number}")]
        ran = CliRunner().invoke(app, [*asked, *kept, *options])
        assert ran.exit_code == 0, ran.output
        rows = read_results(tmp_path / "results.json").rows
        rounds.append([row for row in rows if row.codec in {"WebP", "thumbnail"}])
    files = 2
    assert measured == [
        *files * [("WebP", ("own",))],
        *files * [("thumbnail", ("own",))],
        *files * [("thumbnail", ("reference",))],
    ]
    first, second, third = rounds
    assert [row for row in second if row.codec == "WebP"] == first
    assert {(row.codec, row.judge) for row in third} == {
        ("WebP", "own"), ("thumbnail", "own"), ("thumbnail", "reference")
    }  # fmt: skip
    lines = (tmp_path / "report.md").read_text().splitlines()
    unknown = [each for each in lines if each.endswith("|  |")]  # not measured by the reference
    assert [each.split("|")[2].strip() for each in unknown] == ["WebP, file", "WebP, payload"]
    (tmp_path / "rivals.jsonl").write_text("{}\n")
    ran = CliRunner().invoke(app, [*asked, "--rival=WebP"])
    assert isinstance(ran.exception, InvalidInput)
    assert ran.exception.reason == "INVALID_RESULTS"


def test_rivals_are_measured_ahead_of_a_report(
    data: Path, tiny_models: Path, tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """What another network sees in their files is known before there is a model."""
    where = ["--data", str(data), "--models", str(tiny_models), "--report", str(tmp_path)]
    where += ["--threads", "1", "--reference-extractor", str(tiny_model.extractor_path)]
    made = ["--point=standard", "--photos", str(PHOTOS), "--cache", str(tmp_path / "kept")]
    assert CliRunner().invoke(app, ["report", *where, *made, "--rival=JPEG"]).exit_code == 0
    rows = read_results(tmp_path / "results.json").rows
    sizes = {row.bytes_mean for row in rows if row.codec == "compactface"} - {None}
    (size,) = (round(each) for each in sizes if each)

    asked = ["rivals", *where, "--cache", str(tmp_path / "other"), "--rival=WebP"]
    ran = CliRunner().invoke(app, [*asked, f"--bytes={size}"])
    assert ran.exit_code == 0, ran.output
    assert [line.split(",")[0] for line in ran.output.splitlines()[-2:]] == ["WebP"] * 2
    assert CliRunner().invoke(app, ["report", *where, *made, "--rival=JPEG"]).exit_code == 0
    rows = read_results(tmp_path / "results.json").rows
    assert {(row.codec, row.judge) for row in rows if row.codec in {"JPEG", "WebP"}} == {
        ("JPEG", "own"),
        ("JPEG", "reference"),
        ("WebP", "reference"),
    }


def test_a_rival_that_does_not_exist_is_told(data: Path, tiny_models: Path, tmp_path: Path) -> None:
    asked = ["report", "--data", str(data), "--models", str(tiny_models), "--rival", "WEBP"]
    ran = CliRunner().invoke(app, [*asked, "--report", str(tmp_path)])
    assert ran.exit_code == 2
    assert "JPEG XL" in ran.output
    assert not [*tmp_path.iterdir()]
