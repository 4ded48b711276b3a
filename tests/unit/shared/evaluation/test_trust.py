"""What a threshold promises: the measurement, and the fit of what keeps the promise."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from command_line.evaluate import app as evaluate
from command_line.train import app as train
from shared.codec.compact_map import MapFormat, dequantize, quantize
from shared.errors import InvalidModel, InvalidTraining
from shared.evaluation.coded import Coded
from shared.evaluation.spoilings import CONDITIONS, PARTS, RANDOM, spoil
from shared.evaluation.trust_rates import Compared, search_row
from shared.evaluation.trust_records import Trust
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.inference.networks import load_extractor, load_recnet
from shared.inference.quality_head import Judged, QualityHead
from shared.model_directory import CrowdConfig, LengthConfig, ModelDirectory, QualityConfig
from shared.training.crowd import nearest_strangers
from shared.training.faces import load_faces
from shared.training.quality import Sample, foreseen, margins, train_head, two_each
from shared.training.trust import fit_quality, fit_spread
from tests.lfw_strangers import add_strangers
from tests.tiny_lfw import PHOTOS, clouds, photo, write_lfw
from tests.tiny_model import FAMILY, synthetic_table
from tests.tiny_quality import HEAD, quality_weights, write_judging_model

PEOPLE = 60


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = add_strangers(write_lfw(tmp_path / "data"), count=3)
    (folder / "textures").mkdir()
    with zipfile.ZipFile(folder / "textures" / "bsds.zip", "w") as archive:
        for number in range(3):
            with archive.open(f"{number}.jpg", "w") as member:
                Image.fromarray(clouds(100 + number, height=90, width=120)).save(member, "JPEG")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training cache of 60 people with two photographs each."""
    folder = tmp_path_factory.mktemp("cache")
    names = [f"{person:02}/{number}.webp" for person in range(PEOPLE) for number in range(2)]
    pixels = np.stack([photo(person, number) for person in range(PEOPLE) for number in range(2)])
    teacher = np.repeat(np.eye(PEOPLE, dtype=np.float32), 2, axis=0)
    (folder / "names.json").write_text(json.dumps(names))
    np.save(folder / "faces.npy", pixels)
    np.save(folder / "teacher.npy", np.stack([teacher, teacher], axis=1))
    np.save(folder / "yaw.npy", np.zeros(len(names), np.float32))
    return folder


CROWD = CrowdConfig(scale=((0, 0), (1, 1)), spread=0, eased=())


def _nothing(count: int) -> NDArray[np.float32]:
    return np.zeros(count, np.float32)


def _ones(count: int) -> NDArray[np.float32]:
    return np.ones(count, np.float32)


def measured(models: Path, data: Path, report: Path, *options: str) -> Trust:
    asked = ["trust", "--data", str(data), "--models", str(models), "--report", str(report)]
    kept = ["--cache", str(report / "cache"), "--threads", "1"]
    answer = CliRunner().invoke(evaluate, [*asked, *kept, *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return Trust.model_validate_json((report / "trust.json").read_bytes())


def test_every_condition_has_a_row_for_each_rate(
    tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    trust = measured(tiny_models, data, tmp_path / "report")
    conditions = {row.condition for row in trust.rows if not row.condition.startswith("yaw")}
    alone = {name for name in conditions if name.endswith(", by the map alone")}
    assert conditions - alone == {*CONDITIONS, "textures"}
    assert len(conditions - alone) >= 20
    shares = {row.condition: row.low_quality_share for row in trust.rows}
    assert shares["left 40 % outside"] == 1
    assert shares["left 40 % outside, by the map alone"] == shares["unspoilt"] == 0
    assert {row.fmr_asked for row in trust.rows} == {1e-3, 1e-4}
    assert trust.quality == "measured"
    (unspoilt,) = (
        row for row in trust.rows if row.condition == "unspoilt" and row.fmr_asked == 1e-3
    )
    assert (unspoilt.faces, unspoilt.genuine_pairs, unspoilt.pairs) == (12, 6, 60)
    assert trust.search is not None
    assert (trust.search.enrolled, trust.search.strangers) == (6, 3)
    text = (tmp_path / "report" / "trust.md").read_text()
    assert "| dark glasses |" in text
    assert "| unspoilt: a perfect measure |" in text
    assert (tmp_path / "report" / "trust_reliability.png").stat().st_size > 1000
    assert (tmp_path / "report" / "trust_discard.png").stat().st_size > 1000


def test_no_measure_discards_better_than_a_perfect_one(
    tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    curves = measured(tiny_models, data, tmp_path / "report").curves
    for probes in ("all conditions", "unspoilt"):
        *measures, perfect = [curve for curve in curves if curve.probes == probes]
        failed = perfect.fnmr[0]
        for at, share in enumerate(perfect.discarded):
            assert perfect.fnmr[at] == pytest.approx(max(0, failed - share) / (1 - share))
            assert all(curve.fnmr[at] >= perfect.fnmr[at] - 1e-9 for curve in measures)
        assert all(curve.fnmr[0] == pytest.approx(failed) for curve in measures)


def test_the_rate_is_the_share_of_strangers_at_the_manifests_threshold(
    tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    trust = measured(tiny_models, data, tmp_path / "report", "--people", "3")
    (row,) = (r for r in trust.rows if r.condition == "infrared" and r.fmr_asked == 1e-3)
    assert row.pairs == 3 * 4
    assert row.fmr_measured is not None
    assert row.fmr_measured * row.pairs == pytest.approx(round(row.fmr_measured * row.pairs))
    assert row.low is not None
    assert row.high is not None
    assert row.low <= row.fmr_measured <= row.high


def test_faces_called_low_quality_are_counted_and_left_out(
    tiny_model: ModelDirectory, data: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    write_judging_model(tiny_model, models)
    before = tmp_path / "first"
    measured(models, data, before)
    trust = measured(
        models,
        data,
        tmp_path / "second",
        "--min-quality",
        "0.25",
        "--before",
        str(before / "trust.json"),
    )
    rows = {row.condition: row for row in trust.rows if row.fmr_asked == 1e-3}
    assert trust.quality == "learned"
    assert rows["low light"].low_quality_share == 1
    assert rows["low light"].fmr_measured is None
    assert rows["unspoilt"].low_quality_share == 0
    assert "before: measured" in (tmp_path / "second" / "trust.md").read_text()


def test_spoiling_depends_on_seed_and_place_alone() -> None:
    faces = np.stack([photo(1, 1), photo(2, 1)])
    for name, spoiling in {**CONDITIONS, **RANDOM}.items():
        once, twice = (spoil(faces, spoiling.draw, seed=3) for _ in range(2))
        assert (once == twice).all(), name
        assert once.shape == faces.shape
        assert once.dtype == np.uint8
        assert (once == faces).all() == (name == "unspoilt"), name
        assert set(spoiling.parts) <= set(PARTS)


def test_train_quality_writes_a_version_that_keeps_codecs_and_space(
    tiny_model: ModelDirectory, tiny_models: Path, cache: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models" / FAMILY
    models.mkdir(parents=True)
    (models / "1").symlink_to(tiny_models / FAMILY / "1")
    (models / "current").write_text("1\n")
    options = ["--cache", str(cache), "--models", str(models.parent), "--threads", "1"]
    options += ["--kept", str(tmp_path / "kept")]
    answer = CliRunner().invoke(train, ["quality", "1.1", *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    model = ModelDirectory.load(models.parent, FAMILY, "1.1")
    assert model.manifest.embedding_space == tiny_model.manifest.embedding_space
    assert model.manifest.codecs == tiny_model.manifest.codecs
    assert model.manifest.calibration == tiny_model.manifest.calibration
    assert set(model.manifest.quality) == {"standard", "paper"}
    head = QualityHead.of_model(model, "standard")
    assert head is not None
    encoder = OnnxCropEncoder(model, "standard")
    faces = load_faces(cache).pixels[:, :, 8:-8]
    noise = np.random.default_rng(0).integers(0, 256, faces.shape, np.uint8)
    seen, strange = (
        head.judge(
            np.stack([quantize(each, 4) for each in encoder.latents(crops)]), encoder.map_format
        )
        for crops in (faces, noise)
    )
    assert seen.quality.mean() > strange.quality.mean() + 0.2
    assert (seen.parts[:, -1] < 0.5).mean() > 0.8

    options += ["--of", "1.1", "--point", "paper", "--people", "8"]
    answer = CliRunner().invoke(train, ["quality", "1.2", *options], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    again = ModelDirectory.load(models.parent, FAMILY, "1.2").manifest
    assert again.quality["standard"] == model.manifest.quality["standard"]
    assert (
        again.files["codecs/paper/quality.safetensors"]
        != model.manifest.files["codecs/paper/quality.safetensors"]
    )
    with pytest.raises(InvalidModel, match="no operating point 'fine'"):
        CliRunner().invoke(
            train, ["quality", "1.3", *options, "--point", "fine"], catch_exceptions=False
        )


def test_too_few_people_are_told_of(cache: Path) -> None:
    faces = load_faces(cache)
    with pytest.raises(InvalidTraining, match="3 people have two photographs; at least 8"):
        two_each(faces, np.arange(7), people=5)
    rows = two_each(faces, np.arange(40), people=9)
    owners = np.array(faces.identities())[rows]
    assert len(rows) == 18
    assert (owners[::2] == owners[1::2]).all()


def test_what_is_foreseen_is_the_distance_to_strangers_spoilt_alike() -> None:
    one, other, third = np.eye(3, dtype=np.float32)
    vectors = np.stack([one, one, other, other, third, third])
    symbols = np.zeros((6, 1, 14, 12), np.uint8)
    people, photos = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 1, 2, 3, 0, 2])
    kinds = np.array([0, 0, 0, 0, 1, 1])
    sample = Sample(people, photos, kinds, kinds, _nothing(6), Coded(symbols, vectors, _ones(6)))
    nearest = nearest_strangers(vectors, people, kinds)
    assert margins(sample, nearest) == pytest.approx([1, 1, 1, 1, 0, 0])
    alone = foreseen(sample, nearest)
    assert alone == pytest.approx(np.array([1, 1, 1, 1, -2, -2]) / np.sqrt(8))
    lengths = np.array([9, 1, 1, 1, 1, 1], np.float32)
    longer = foreseen(replace(sample, coded=Coded(symbols, vectors, lengths)), nearest)
    assert longer[0] > longer[1] == longer[2] > longer[4]


def test_strangers_spoilt_alike_are_allowed_for_and_unspoilt_ones_are_not(
    tiny_model: ModelDirectory,
) -> None:
    """Black maps, whose owners are all of one embedding, next to grey ones, who are not."""
    random = np.random.default_rng(0)
    fmt = tiny_model.codec("standard").map_format
    count = 200
    unspoilt = random.normal(size=(count, 64)).astype(np.float32)
    unspoilt /= np.linalg.norm(unspoilt, axis=1, keepdims=True)
    alike = unspoilt + 3 * unspoilt[:1]
    alike /= np.linalg.norm(alike, axis=1, keepdims=True)
    symbols = np.concatenate([np.full((count, *fmt.shape), 3), np.full((count, *fmt.shape), 1)])
    sample = Sample(
        np.tile(np.arange(count), 2),
        np.tile(np.arange(count), 2),
        np.repeat([0, 1], count),
        np.repeat([0, 1], count),
        _nothing(2 * count),
        Coded(symbols.astype(np.uint8), np.concatenate([unspoilt, alike]), _ones(2 * count)),
    )
    config = HEAD.model_copy(update={"spread": (0.0, 0.0), "crowd": CROWD})
    weights = quality_weights(int(np.prod(fmt.shape)), crowd=True)
    head = QualityHead(fit_spread(QualityHead(config, weights), sample, fmt), weights)
    judged = head.judge(sample.coded.symbols, fmt)
    allowed = judged.allowance()
    assert allowed[:count, :count].mean() < 0.1
    assert allowed[count:, count:].mean() > 0.5


@pytest.mark.parametrize("last", [3, 0], ids=["like nobody", "like somebody else"])
def test_a_search_counts_strangers_who_match_and_people_who_do_not(last: int) -> None:
    """Three people on axes; the second photograph of the third is not like the first."""
    axes = np.eye(4, dtype=np.float32)
    people = np.repeat(np.arange(3), 2)
    vectors = axes[[0, 0, 1, 1, 2, last]]
    strangers = np.stack([axes[0], axes[3], axes[3], axes[1]])
    enrolled, strange = (
        Compared(
            np.arange(len(each)) if each is strangers else people,
            Coded(np.zeros((len(each), 1, 1, 1), np.uint8), each, _ones(len(each))),
            Judged.without_head(np.ones(len(each), np.float32)),
        )
        for each in (vectors, strangers)
    )
    table = synthetic_table("a", "a")
    row = search_row(enrolled, strange, table, min_quality=0.15)
    assert row is not None
    assert (row.enrolled, row.strangers) == (3, 4)
    assert (row.fpir_measured, row.fnir) == (0.5, pytest.approx(1 / 3))
    poor = replace(strange, judged=Judged.without_head(np.array([0.1, 1, 1, 1], np.float32)))
    row = search_row(enrolled, poor, table, min_quality=0.15)
    assert row is not None
    assert (row.strangers, row.fpir_measured) == (3, pytest.approx(1 / 3))


def test_an_allowance_is_for_what_both_have() -> None:
    parts = np.array([[1, 0], [1, 1], [0, 1]], np.float32)
    judged = Judged(np.ones(3, np.float32), parts, np.array([0.2, 0.1, 0.5, 0.3], np.float32))
    assert judged.allowance() == pytest.approx(
        np.array([[0.2, 0.2, 0], [0.2, 0.3, 0.1], [0, 0.1, 0.1]])
    )
    worse = replace(judged, quality=np.array([0, 1, 0], np.float32), resembling=0.05)
    assert worse.allowance()[0] == pytest.approx([0.75, 0.25, 0.55])
    crowd = replace(judged, crowded=np.array([1, 0, 0.5], np.float32))
    assert crowd.allowance()[0] == pytest.approx([0.5, 0.2, 0.15])


def test_a_longer_embedding_raises_the_quality_and_not_what_a_camera_says() -> None:
    """Twice the usual length adds 0.2 to what the head says, which is 0.5 of a grey map."""
    length = LengthConfig(usual=0, weight=0.2 / np.log(2), scale=HEAD.scale)
    head = QualityHead(HEAD.model_copy(update={"length": length}), quality_weights(168))
    fmt = MapFormat(channels=1, height=14, width=12, levels=3, layout="row")
    grey = np.ones((3, 1, 14, 12), np.uint8)
    judged = head.judge(grey, fmt, np.array([0.5, 1, 2], np.float32))
    assert judged.quality == pytest.approx([0.3, 0.5, 0.7])
    assert judged.usual_claims == pytest.approx([0.5, 0.5, 0.5])
    assert head.judge(grey, fmt).quality == pytest.approx([0.5, 0.5, 0.5])
    assert judged[1:].given(_ones(2)).quality == pytest.approx([0.5, 0.7])


@pytest.mark.parametrize(
    ("claim", "counts"),
    [(1.0, 0.7), (0.5, 0.7), (0.4, 0.4), (0.1, 0.1)],
    ids=["boast", "no more than the map", "seen in the picture", "unfit"],
)
def test_a_claim_counts_if_it_is_worse_than_the_map(claim: float, counts: float) -> None:
    judged = replace(Judged.without_head(np.full(1, 0.7, np.float32)), by_map=_ones(1) / 2)
    assert judged.given(np.full(1, claim, np.float32)).quality == pytest.approx([counts])
    unfit_by_map = replace(judged, by_map=_ones(1) / 10)
    assert unfit_by_map.given(np.full(1, 0.1, np.float32)).quality == pytest.approx([0.1])


def test_weights_of_another_head_are_refused() -> None:
    with pytest.raises(InvalidModel, match="cannot be read"):
        QualityHead(HEAD, b"no tensors")
    weights = quality_weights(168)
    with pytest.raises(InvalidModel, match="4 outputs"):
        QualityHead(
            HEAD.model_copy(update={"parts": (*HEAD.parts, "blur"), "spread": (0, 0, 0)}), weights
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"spread": (0.1,)},
        {"scale": ((0.0, 0.0), (1.0, 0.0))},
        {"poor_spread": -0.1},
        {"length": {"usual": 1, "weight": -1, "scale": HEAD.scale}},
        {"length": {"usual": 1, "weight": 1, "scale": ((0, 0), (0, 1))}},
        {"crowd": {"scale": HEAD.scale, "spread": -0.1, "eased": ()}},
        {"crowd": {"scale": HEAD.scale, "spread": 0, "eased": ((1e-4, 0), (1e-3, 0))}},
    ],
)
def test_a_head_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        QualityConfig.model_validate({**HEAD.model_dump(), **wrong})


def test_a_head_is_fitted_for_all_points_of_its_networks(tiny_model: ModelDirectory) -> None:
    fmt = tiny_model.codec("standard").map_format
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 2)
    vectors = random.normal(size=(80, 16)).astype(np.float32)
    symbols = random.integers(0, 4, (80, *fmt.shape)).astype(np.uint8)
    coded = Coded(symbols, vectors, random.uniform(1, 2, 80).astype(np.float32))
    kinds = np.zeros(80, np.int64)
    sample = Sample(people, np.arange(80), kinds, kinds, _nothing(80), coded)
    short = replace(fmt, spared=500)
    weights = train_head(sample, [fmt, short])
    head = QualityHead(fit_quality(weights, sample, fmt), weights)
    judged = head.judge(symbols, fmt, coded.lengths)
    for shares in (judged.quality, judged.usual_claims):
        assert np.mean(shares < 0.5) == pytest.approx(0.2, abs=0.02)
    assert np.corrcoef(judged.quality, np.log(coded.lengths))[0, 1] > 0.5
    normalised = replace(sample, coded=replace(coded, lengths=_ones(80)))
    assert fit_quality(weights, normalised, fmt).length is None
    for each in (fmt, short):
        assert np.isfinite(head.judge(symbols, each).quality).all()
    assert train_head(sample, [fmt, short]) == weights
    assert PHOTOS == 4


def test_the_length_is_what_normalising_takes_away(tiny_model: ModelDirectory) -> None:
    shape = tiny_model.codec("standard").map_format.shape
    symbols = np.random.default_rng(0).integers(0, 4, (5, *shape)).astype(np.uint8)
    decoder = MapDecoder(tiny_model)
    codec_id = tiny_model.codec("standard").codec_id
    vectors, lengths = decoder.embed_with_lengths([(codec_id, each) for each in symbols])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5))
    recnet = load_recnet(tiny_model, "standard", torch.device("cpu"))
    network = load_extractor(tiny_model, torch.device("cpu")).network
    with torch.inference_mode():
        whole = network(recnet(torch.from_numpy(dequantize(symbols, decoder.formats[codec_id]))))
    assert lengths == pytest.approx(whole.norm(dim=1).numpy(), rel=1e-4)
    assert vectors * lengths[:, None] == pytest.approx(whole.numpy(), abs=1e-4)
