"""The console in Chromium, over the default model.

With COMPACTFACE_SCREENSHOTS=FOLDER it leaves pictures of the pages there, for the manual.
"""

import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from compactface.v1.encoder_pb2 import EncodeRequest
from compactface.v1.gallery_pb2 import Collection, UpdateCollectionRequest
from compactface.v1.recognizer_pb2 import (
    DeleteSightingsRequest,
    SightingFilter,
    StreamMapsRequest,
)
from shared.model_directory.shipped import shipped_models
from tests.services.access import AccessFolder, bearer
from tests.services.hosting import Service, running_encoder, running_recognizer, running_web
from tests.services.recognizer.receiver import SECRET, receiving

playwright = pytest.importorskip("playwright.async_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.timeout(300),
]

PHOTOS = Path(__file__).parents[1] / "data"
ALL = ("admin", "watch", "reconstruct")


class Place:
    """The services, the gateway's address and the access file."""

    def __init__(self, address: str, encoder: Service, recognizer: Service) -> None:
        self.address, self.encoder, self.recognizer = address, encoder, recognizer
        self.access: AccessFolder

    async def pass_by(self, photograph: str) -> None:
        """Let a camera see who is on a photograph."""
        token = bearer(self.access.token("encode", "stream"))
        image = (PHOTOS / photograph).read_bytes()
        encoded = await self.encoder.encoder.Encode(EncodeRequest(image=image), metadata=token)
        seen = StreamMapsRequest(sighting_id=str(uuid.uuid4()), map=encoded.faces[0].map)
        async for answer in self.recognizer.recognizer.StreamMaps(iter([seen]), metadata=token):
            assert answer.outcome == answer.OUTCOME_STORED

    async def forget_sightings(self) -> None:
        """Delete all sightings."""
        request = DeleteSightingsRequest(collection="default", filter=SightingFilter())
        token = bearer(self.access.token("admin"))
        await self.recognizer.recognizer.DeleteSightings(request, metadata=token)

    async def group_strangers(self, rate: float) -> None:
        """Group unknown sightings at this rate; 0: do not."""
        request = UpdateCollectionRequest(
            collection=Collection(collection_id="default", max_stranger_fpir=rate),
            update_mask=FieldMask(paths=["max_stranger_fpir"]),
        )
        token = bearer(self.access.token("admin"))
        await self.recognizer.gallery.UpdateCollection(request, metadata=token)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("console")
    access = AccessFolder(folder / "access.toml")
    access.token("admin")
    models = shipped_models()
    async with (
        running_encoder(models, access=access.path) as encoder,
        running_recognizer(models, folder / "gallery.sqlite", access=access.path) as recognizer,
        running_web(encoder, recognizer) as web,
    ):
        made = Place(str(web.base_url), encoder, recognizer)
        made.access = access
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def page(place: Place) -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        made = await browser.new_page(
            base_url=place.address, viewport={"width": 1000, "height": 700}
        )
        complaints: list[str] = []
        made.on("console", lambda said: complaints.append(said.text))
        made.on("pageerror", lambda error: complaints.append(str(error)))
        yield made
        await browser.close()
    # What the content security policy refuses is said there, too.
    assert not [each for each in complaints if "403" not in each], complaints


async def visit(page: Any, address: str) -> None:
    """Open a page and wait until it is painted: before that, Chromium drops what is typed."""
    await page.goto(address)
    await page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


async def sign_in(page: Any, token: str) -> None:
    await visit(page, "/")
    await page.keyboard.type(token)  # the field has the focus
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/people")


async def picture(page: Any, name: str) -> None:
    """Keep what the page looks like, and see that it fits on a phone."""
    folder = os.environ.get("COMPACTFACE_SCREENSHOTS")
    if folder:
        path = Path(folder) / f"console-{name}.png"
        await page.screenshot(path=path, full_page=True)
    await page.set_viewport_size({"width": 360, "height": 700})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.set_viewport_size({"width": 1000, "height": 700})


async def test_strangers_are_named_at_once_and_so_are_chosen_sightings(
    place: Place, page: Any
) -> None:
    token = place.access.token(*ALL)
    await place.group_strangers(0.05)
    await place.pass_by("barack_obama_portrait_2012.jpg")
    await place.pass_by("barack_obama_congress.jpg")
    await place.pass_by("eileen_collins_portrait.jpg")
    await sign_in(page, token)
    await page.click("text=Strangers")
    card = page.locator(".card", has_text="Seen 2 times on 1 camera")
    await card.locator("img").evaluate("image => image.decode()")
    await picture(page, "strangers")
    await card.locator("summary").click()
    await card.get_by_label("Name").fill("Barack Obama")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Barack Obama')")
    assert await page.locator("tbody tr").count() == 2
    await delete_person(page)
    await place.group_strangers(0)
    await place.forget_sightings()

    await page.click("text=Live")
    await page.wait_for_selector("#live:has-text('Live.')")
    for photograph in ("eileen_collins_portrait.jpg", *2 * ("joe_biden_blue_room.jpg",)):
        await place.pass_by(photograph)
    rows = page.locator("#sightings .card")
    await rows.nth(2).wait_for()
    for row in range(2):
        await rows.nth(row).get_by_label("Choose").check()
    await page.click("text=Who are those chosen?")
    await page.locator("#chosen-name").fill("Joe Biden")
    await picture(page, "choose")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Joe Biden')")
    assert await page.locator("tbody tr").count() == 2
    await delete_person(page)
    await page.click("text=Live")
    assert await page.get_by_text("No longer enrolled").count() == 2
    # A picture that is forgotten while it loads is a complaint of the console.
    await page.locator("#sightings img").evaluate_all(
        "images => Promise.all(images.map(image => image.decode()))"
    )
    await place.forget_sightings()


async def delete_person(page: Any) -> None:
    page.once("dialog", lambda dialog: dialog.accept())
    await page.click("button.danger")
    await page.wait_for_selector("text=The bytes have left the disk")


async def test_an_unknown_who_passes_is_named_found_by_photograph_and_deleted(
    place: Place, page: Any
) -> None:
    await sign_in(page, place.access.token(*ALL))
    await page.click("text=Live")
    await page.wait_for_selector("#live:has-text('Live.')")
    await place.pass_by("eileen_collins_portrait.jpg")
    row = page.locator("#sightings .card").first
    await row.wait_for()
    assert "Unknown" in await row.inner_text()
    shown = await row.locator("img").evaluate(
        "image => image.decode().then(() => image.naturalWidth)"
    )
    assert shown == 96
    await picture(page, "live")

    await row.locator("summary").click()
    await row.get_by_label("Name").fill("Eileen Collins")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Eileen Collins')")
    await picture(page, "person")

    await page.click("text=Ask")
    await page.set_input_files("#image", PHOTOS / "eileen_collins_portrait.jpg")
    await page.click("#ask button")
    await page.wait_for_selector("#photograph svg rect")
    card = page.locator("#answer .card")
    assert await card.count() == 1
    assert "Match. At most 1 in 100 strangers" in await card.inner_text()
    assert await card.locator(".matched a").inner_text() == "Eileen Collins"
    assert await card.locator("img").count() == 2  # the crop, and what its bytes hold
    await picture(page, "ask")

    await page.click("text=System")
    assert await page.locator("text=SERVING").count() == 2
    assert re.search(r"too few probes yet: \d+ of 300", await page.inner_text("main"))
    await picture(page, "system")

    await page.click("text=People")
    await picture(page, "people")
    await page.click("text=Eileen Collins")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.click("button.danger")
    await page.wait_for_selector("text=The bytes have left the disk")
    await picture(page, "deleted")


async def test_a_wrong_face_is_taken_out_and_two_people_become_one(place: Place, page: Any) -> None:
    await sign_in(page, place.access.token(*ALL))
    for subject, photograph in (
        ("obama", "barack_obama_portrait_2012.jpg"),
        ("obama", "joe_biden_blue_room.jpg"),
        ("president", "barack_obama_congress.jpg"),
    ):
        await page.goto("/people")
        await page.get_by_label("Id", exact=True).fill(subject)
        await page.get_by_label("Enroll even").check()
        await page.set_input_files("#image", PHOTOS / photograph)
        await page.click("button:has-text('Enroll')")
        await page.wait_for_selector(f"h1:has-text('{subject}')")

    await place.pass_by("joe_biden_blue_room.jpg")
    await page.click("text=Live")
    row = page.locator("#sightings .card", has_text="obama").first
    await row.wait_for()
    await row.get_by_role("link", name="Not this person").click()
    await page.wait_for_selector("text=obama keeps 1 face.")
    await page.locator("figure img").last.evaluate("image => image.decode()")
    await picture(page, "wrong-face")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.click("button.danger")
    await page.wait_for_selector("text=who keeps 1 face.")
    assert "Seen again, this sighting would be: unknown." in await page.inner_text("main")

    await visit(page, "/people/obama")
    await page.get_by_label("Id of somebody").fill("president")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('One person?')")
    await page.wait_for_load_state("networkidle")
    await picture(page, "merge")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.click("button.danger")
    await page.wait_for_selector("text=president is now part of obama, who has 2 faces.")


async def test_cameras_and_rules(place: Place, page: Any) -> None:
    await place.pass_by("eileen_collins_portrait.jpg")
    await sign_in(page, place.access.token(*ALL))
    await page.click("text=Cameras")
    row = page.locator("tbody tr", has_text="tester")
    assert re.search("(second|moment)s? ago", await row.inner_text())
    await picture(page, "cameras")
    await row.get_by_role("link").click()
    await page.wait_for_selector("#live:has-text('Live.')")

    await page.click("text=Rules")
    await page.get_by_label("When a camera sees").select_option("unknown")
    with receiving() as receiver:
        await page.get_by_label("Address of the webhook").fill(receiver.url)
        await page.get_by_label("Secret").fill(SECRET)
        await page.keyboard.press("Enter")
        await page.click("button:has-text('Try')")
        await page.wait_for_selector("text=Delivered")
        await picture(page, "rules")
        assert [event["type"] for event in receiver.events] == ["test"]
    page.once("dialog", lambda dialog: dialog.accept())
    await page.click("tbody button:has-text('Delete')")
    await page.wait_for_selector("text=Nobody is told of anybody yet.")


async def test_a_deletion_can_be_thought_over(place: Place, page: Any) -> None:
    await sign_in(page, place.access.token(*ALL))
    await page.get_by_label("Name").nth(1).fill("Joe Biden")
    await page.set_input_files("#image", PHOTOS / "joe_biden_blue_room.jpg")
    await page.click("button:has-text('Enroll')")
    await page.wait_for_selector("h1:has-text('Joe Biden')")
    page.once("dialog", lambda dialog: dialog.dismiss())
    await page.click("button.danger")
    await page.reload()
    assert await page.locator("h1").inner_text() == "Joe Biden"


async def test_what_a_token_may_not_is_said(place: Place, page: Any) -> None:
    await sign_in(page, place.access.token("identify"))
    assert "SCOPE_MISSING" in await page.inner_text("main")
    await page.click("text=System")
    assert "Not shown" in await page.inner_text("main")
