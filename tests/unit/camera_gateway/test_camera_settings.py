from pathlib import Path
from typing import Any

import pytest

from camera_gateway.settings import load_settings
from shared.serving.settings_loader import SettingsError


def problems(*sources: str, **given: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as error:
        load_settings(sources, **given)
    return error.value.problems


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "cameras.toml"


def test_a_file_names_many_cameras_and_flags_win(config: Path) -> None:
    config.write_text(
        'encoder = "far:1"\nmetrics_port = 7\n'
        '[[cameras]]\nname = "door"\nsource = "rtsp://a/"\nmin_face_size = 60\nevery = 2\n'
        '[[cameras]]\nsource = "/dev/video0"\n'
    )
    settings = load_settings(["film.mp4"], config=config, encoder="near:2", every=5)
    assert (settings.encoder, settings.metrics_port) == ("near:2", 7)
    assert [one.name for one in settings.cameras] == ["door", "camera2", "camera3"]
    assert [one.min_face_size for one in settings.cameras] == [60, 40, 40]
    assert {one.every for one in settings.cameras} == {5}
    assert settings.cameras[2].source == "film.mp4"


def test_unknown_keys_are_errors_with_the_nearest_known(config: Path) -> None:
    config.write_text('encodr = "a:1"\n[[cameras]]\nsource = "x"\nmin_face = 40\n')
    assert set(problems(config=config)) == {
        f"encodr in {config}: unknown setting; did you mean encoder?",
        f"cameras[1].min_face in {config}: unknown setting; did you mean min_face_size?",
    }


def test_a_bad_value_names_its_place_and_a_bad_flag_is_said_once(config: Path) -> None:
    config.write_text('[[cameras]]\nname = "../door"\nsource = "x"\n[[cameras]]\nsource = "y"\n')
    first, second = problems(config=config, min_face_size=3)
    assert first.startswith(f"cameras[1].name in {config} is '../door': ")
    assert second == "--min-face-size is 3: input should be greater than or equal to 12"


def test_a_region_that_holds_nothing_is_refused() -> None:
    (problem,) = problems("x", region_of_interest="0.5,0,0.5,1")
    assert problem.startswith("--region-of-interest is '0.5,0,0.5,1': region 0.5,")


def test_passwords_of_sources_are_not_shown(config: Path) -> None:
    config.write_text('[[cameras]]\nsource = 5\n[[cameras]]\nsource = ["rtsp://u:secret@h/"]\n')
    assert not any("secret" in problem for problem in problems(config=config))
    assert "secret" not in repr(load_settings(["rtsp://u:secret@h/"]))


def test_names_are_unique() -> None:
    assert problems("a", "b", name="door") == ("two cameras have the name 'door'",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cameras = 3", "must be tables"),
        ("[cameras]\nsource = 'x'", "must be tables"),
        ("= 1", "not TOML"),
        ("", "no camera: name a SOURCE"),
        ("[[cameras]]\nname = 'door'", "cameras[1].source in"),
    ],
)
def test_files_that_cannot_be_used(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    (problem,) = problems(config=config)
    assert said in problem


def test_a_file_that_is_not_there(config: Path) -> None:
    assert problems(config=config) == (f"{config}: No such file or directory",)


def test_metrics_that_others_could_read_need_to_be_meant() -> None:
    (problem,) = problems("x", metrics_host="0.0.0.0")  # noqa: S104 - that is the point
    assert "reachable from other machines" in problem
    assert load_settings(["x"], metrics_host="0.0.0.0", insecure=True).insecure  # noqa: S104


def test_certificates_go_together() -> None:
    assert problems("x", certificate=Path("c")) == (
        "certificate and key go together; only one is set",
    )
