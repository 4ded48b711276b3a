"""A change of model, begun and followed in the console."""

import asyncio
import re
from pathlib import Path

import pytest

from shared.model_directory import set_current
from tests.services.access import AccessFolder
from tests.services.asking import enroll_all, face_of
from tests.services.hosting import running_encoder, running_recognizer, running_web
from tests.services.web.browser import Browser, sign_in
from tests.tiny_model import FAMILY

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACES = 40


async def test_the_model_is_changed_and_the_progress_shown(
    two_models: Path, tmp_path: Path
) -> None:
    async with (
        running_encoder(two_models) as encoder,
        running_recognizer(two_models, tmp_path / "gallery.sqlite") as recognizer,
        running_web(encoder, recognizer) as client,
    ):
        faces = [face_of(two_models, seed) for seed in range(FACES)]
        await enroll_all(recognizer, "", faces)
        browser = Browser(client.base_url)
        await sign_in(browser, "")
        await browser.open("/system")
        unchanged = await browser.send("/system/model")
        assert f"The current model serves: {FAMILY} 1, with {FACES} faces." in unchanged

        set_current(two_models, FAMILY, "2")
        await browser.open("/system")
        page = await browser.send("/system/model")
        assert f"{FAMILY} 1 serves." in page
        async with asyncio.timeout(60):
            while "The current model serves" not in page:
                (done,) = re.findall(rf"(\d+) of {FACES} faces are embedded", page)
                assert int(done) <= FACES
                page = await browser.send("/system/model")
        assert f"The current model serves: {FAMILY} 2, with {FACES} faces." in page
        await browser.client.aclose()


async def test_only_an_administrator_changes_the_model(two_models: Path, tmp_path: Path) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    access.token("admin")
    async with (
        running_encoder(two_models, access=access.path) as encoder,
        running_recognizer(
            two_models, tmp_path / "gallery.sqlite", access=access.path
        ) as recognizer,
        running_web(encoder, recognizer) as client,
    ):
        browser = Browser(client.base_url)
        await sign_in(browser, access.token("identify"))
        page = await browser.open("/system")
        assert "/system/model" not in page
        (key,) = set(re.findall(r'name="form_key" value="([^"]*)"', page))
        refused = await browser.client.post("/system/model", data={"form_key": key})
        assert refused.status_code == 403
        assert "SCOPE_MISSING" in refused.text
        await browser.client.aclose()
