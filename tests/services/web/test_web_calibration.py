"""Over HTTP and on the page System: whether the calibration holds on the probes served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path

import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.access import AccessFolder
from tests.services.asking import enroll_all, probe
from tests.services.hosting import Service, running_recognizer, running_web
from tests.services.web.browser import Browser, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def browsing(
    encoder: Service, models: Path, folder: Path, *, token: str = "", **settings: object
) -> AsyncIterator[tuple[Service, Browser]]:
    """A recognizer with a gallery of its own, and a browser that is signed in."""
    async with (
        running_recognizer(models, folder / "gallery.sqlite", **settings) as recognizer,
        running_web(encoder, recognizer) as web,
    ):
        browser = Browser(web.base_url)
        async with browser.client:
            await sign_in(browser, token)
            yield recognizer, browser


async def test_a_calibration_that_holds(
    encoder: Service,
    tiny_models: Path,
    tmp_path: Path,
    people: list[CompactMap],
    again: list[CompactMap],
) -> None:
    async with browsing(encoder, tiny_models, tmp_path) as (recognizer, browser):
        assert "too few probes yet: 0 of 300" in await browser.open("/system")
        await enroll_all(recognizer, "", people)
        await probe(recognizer, again, 140)
        page = await browser.open("/system")
        assert "too few probes yet: 140 of 300, since 20" in page
        await probe(recognizer, again, 160)
        page = await browser.open("/system")
        assert "holds: 0% (0 to 19) of 300 probes where 10% were promised, since 20" in page
        assert "gallery calibrate" not in page


async def test_a_calibration_that_does_not(
    encoder: Service,
    shifted_models: Path,
    tmp_path: Path,
    people: list[CompactMap],
    again: list[CompactMap],
) -> None:
    async with browsing(encoder, shifted_models, tmp_path) as (recognizer, browser):
        await enroll_all(recognizer, "", people)
        await probe(recognizer, again, 320)
        page = unescape(await browser.open("/system"))
        answer = (await browser.client.get("/v1/collections/default")).json()
        check = answer["collection"]["calibrationCheck"]
        assert check["verdict"] == "VERDICT_HIGHER"
        assert (check["probes"], check["minProbes"]) == (320, 300)
        assert check["low"] > check["expectedRate"]
        assert (
            f"higher than calibrated: {check['observedRate']:.0%} ({100 * check['low']:.0f} to "
            f"{100 * check['high']:.0f}) of 320 probes where 10% were promised, since 20"
        ) in page
        assert "at the cameras' light and quality" in page
        assert "<code>compactface gallery calibrate</code>" in page


async def test_without_admin_it_is_not_shown(
    encoder: Service, tiny_models: Path, tmp_path: Path
) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    token = access.token("enroll", collections=["default"])
    given = browsing(encoder, tiny_models, tmp_path, token=token, access=access.path)
    async with given as (_, browser):
        page = await browser.open("/system")
        assert "not shown without the scope admin" in page
        assert "too few probes" not in page
