"""The console's pages over the real services, as a browser without scripts sees them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.services.access import AccessFolder
from tests.services.hosting import Service, running_encoder, running_recognizer, running_web
from tests.services.web.browser import Browser, sign_in
from tests.services.web.photographs import side_by_side
from web_gateway.console import pages
from web_gateway.console.sessions import Sessions

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATIC = Path(pages.__file__).parent / "static"


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> AccessFolder:
    return AccessFolder(tmp_path_factory.mktemp("console") / "access.toml")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(
    tiny_models: Path, tmp_path_factory: pytest.TempPathFactory, access: AccessFolder
) -> AsyncIterator[httpx.AsyncClient]:
    access.token("admin")
    gallery = tmp_path_factory.mktemp("console") / "gallery.sqlite"
    async with (
        running_encoder(tiny_models, access=access.path) as encoder,
        running_recognizer(tiny_models, gallery, access=access.path) as recognizer,
        running_web(encoder, recognizer) as client,
    ):
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def browser(gateway: httpx.AsyncClient) -> AsyncIterator[Browser]:
    made = Browser(gateway.base_url)
    yield made
    await made.client.aclose()


async def test_enrolls_asks_and_deletes(
    browser: Browser, access: AccessFolder, photos: dict[str, bytes]
) -> None:
    assert "Nobody is enrolled yet" in await sign_in(browser, access.token("admin"))

    person = await browser.send(
        "/people",
        photos["eileen_collins_portrait"],
        subject_id="collins/1",
        display_name="Eileen <Collins>",
        labels="crew, pilot",
    )
    assert browser.page.url.path == "/people/collins/1"  # %2F, decoded by httpx
    assert "Eileen &lt;Collins&gt;" in person
    assert "pilot" in await browser.open("/people?name=eileen&label=crew")
    assert "Nobody passes" in await browser.open("/people?label=cook")

    await browser.open("/ask")
    two = side_by_side(photos["eileen_collins_portrait"], photos["joe_biden_blue_room"])
    answer = await browser.send("/ask", two)
    assert "2 faces" in answer
    assert "FPIR" in answer
    assert re.search(r'data-box="[\d. -]+"', answer)
    assert "Eileen &lt;Collins&gt;" in answer

    # The unknown face is enrolled from its map; the photograph is gone.
    cards = answer.split('<li class="card"')[1:]
    (unknown,) = [card for card in cards if 'class="matched"' not in card]
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', unknown))
    enrolled = await browser.client.post("/people", data=form | {"display_name": "Joe"})
    assert enrolled.status_code == 200, enrolled.text
    assert "Joe" in enrolled.text

    await browser.open("/people/collins%2F1")
    changed = await browser.send("/people/collins%2F1", display_name="Eileen", labels="crew")
    assert "<h1>Eileen</h1>" in changed
    gone = await browser.send("/people/collins%2F1/delete")
    assert "collins/1 is deleted with 1 face." in gone
    assert "The bytes have left the disk" in gone
    missing = await browser.open("/people/collins%2F1")
    assert browser.page.status_code == 404
    assert "SUBJECT_NOT_FOUND" in missing


async def test_several_faces_are_shown_before_one_is_enrolled(
    browser: Browser, access: AccessFolder, photos: dict[str, bytes]
) -> None:
    await sign_in(browser, access.token("admin"))
    two = side_by_side(photos["barack_obama_portrait_2012"], photos["joe_biden_blue_room"])
    choice = await browser.send("/people", two, subject_id="one-of-two", allow_duplicate="yes")
    assert browser.page.status_code == 422
    assert choice.count("Enroll this one") == 2
    assert "data:image/png;base64," in choice
    enrolled = await browser.send("/people", subject_id="one-of-two")
    assert browser.page.status_code == 200, enrolled
    assert "one-of-two" in enrolled


async def test_shows_the_system_as_far_as_the_token_goes(
    browser: Browser, access: AccessFolder
) -> None:
    await sign_in(browser, access.token("admin"))
    page = await browser.open("/system")
    assert page.count("SERVING") == 2
    assert "Not shown" not in page
    await sign_in(browser, access.token("identify", collections=["default"]))
    page = await browser.open("/system")
    assert page.count("SERVING") == 2
    assert "Not shown: " in page
    assert "SCOPE_MISSING" in page
    refused = await browser.open("/people")
    assert browser.page.status_code == 403
    assert "SCOPE_MISSING" in refused


async def test_nothing_is_shown_without_a_session(
    gateway: httpx.AsyncClient, browser: Browser, access: AccessFolder
) -> None:
    paths = ("/", "/people", "/people/x", "/ask", "/system", "/erasures/1", "/cameras", "/rules")
    for path in paths:
        answer = await gateway.get(path, follow_redirects=True)
        assert answer.url.path == "/sign-in", path
    assert "alert" in await sign_in(browser, "cf_not-a-token")
    assert browser.page.status_code == 401
    assert not browser.client.cookies
    # A cookie is no credential of the interface for programs, nor a token one of the console.
    token = access.token("admin")
    await sign_in(browser, token)
    assert (await browser.client.get("/v1/recognizer")).status_code == 401
    bearer = {"authorization": f"Bearer {token}"}
    answer = await gateway.get("/people", headers=bearer, follow_redirects=True)
    assert answer.url.path == "/sign-in"


async def test_the_cookie_is_kept_from_scripts_and_other_sites(
    gateway: httpx.AsyncClient, access: AccessFolder
) -> None:
    token = access.token("admin")
    answer = await gateway.post("/sign-in", data={"token": token})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert token not in cookie
    gateway.cookies.clear()


async def test_signing_in_leads_to_the_page_that_was_wanted(
    browser: Browser, access: AccessFolder
) -> None:
    token = access.token("admin")
    await browser.open("/rules?collection=default")
    browser.page = await browser.client.post(
        "/sign-in", data={"token": token, "to": browser.form("/sign-in")["to"]}
    )
    assert str(browser.page.url).endswith("/rules?collection=default")
    for elsewhere in ("//evil.example/", "/\\evil.example/", "https://evil.example/", "x", "/\n/"):
        answer = await browser.client.post(
            "/sign-in", data={"token": token, "to": elsewhere}, follow_redirects=False
        )
        assert answer.headers["location"] == "/people", elsewhere


async def test_forms_of_other_pages_are_refused(
    browser: Browser, access: AccessFolder, photos: dict[str, bytes]
) -> None:
    await sign_in(browser, access.token("admin"))
    image = photos["joe_biden_blue_room"]
    for key in ({}, {"form_key": "x"}, {"form_key": "é"}):
        answer = await browser.client.post("/people", data=key, files={"image": image})
        assert answer.status_code == 403
        assert "FORM_EXPIRED" in answer.text
    await browser.open("/people")
    signed_out = await browser.send("/sign-out")
    assert "<h1>Sign in</h1>" in signed_out
    assert "<h1>Sign in</h1>" in await browser.open("/people")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b; charset=idna", b"--b\r\nx"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        (
            "multipart/form-data; boundary=b; charset=punycode",
            b'--b\r\nContent-Disposition: form-data; name="\xff-\xff"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"a=1&" * 100),
        ("application/x-www-form-urlencoded", b"token=%ff%00"),
        ("application/x-www-form-urlencoded", b"token=" + b"x" * 70_000),
        ("", b"\xff"),
    ],
)
async def test_forms_that_no_browser_sends(
    gateway: httpx.AsyncClient, kind: str, body: bytes
) -> None:
    answer = await gateway.post("/sign-in", content=body, headers={"content-type": kind})
    assert answer.status_code in {400, 401, 413}, answer.text
    assert "internal error" not in answer.text


async def test_services_that_ask_for_no_token(encoder: Service, recognizer: Service) -> None:
    async with running_web(encoder, recognizer) as client:
        browser = Browser(client.base_url)
        assert "<h1>People</h1>" in await sign_in(browser, "")
        await browser.client.aclose()


async def test_sessions_end_and_are_not_hoarded() -> None:
    now = 0.0
    sessions = Sessions(seconds=10, clock=lambda: now)
    first = sessions.open("token")
    found = sessions.find(first)
    assert found is not None
    assert "token" not in repr(found)
    now = 10.5
    assert sessions.find(first) is None
    second = sessions.open("token")
    for _ in range(1000):
        sessions.open("other")
    assert sessions.find(second) is None


async def test_pages_need_nothing_from_elsewhere(browser: Browser, access: AccessFolder) -> None:
    await sign_in(browser, access.token("admin"))
    for path in ("/sign-in", "/people", "/ask", "/cameras", "/rules", "/system"):
        page = await browser.open(path)
        assert browser.page.headers["cache-control"] == "no-store"
        assert not re.search(r'(src|href)="(https?:)?//', page)
        assert "<script>" not in page
        assert 'style="' not in page
        for name in re.findall(r'<(?:input|select)(?![^>]*type="hidden")[^>]* id="([^"]+)"', page):
            assert f'for="{name}"' in page, f"{path}: {name} has no label"
    for file in ("console.css", "console.js"):
        answer = await browser.client.get(f"/static/{file}")
        assert answer.status_code == 200
        assert "public" in answer.headers["cache-control"]
    assert (await browser.client.get("/static/../sessions.py")).status_code == 404


async def test_colours_are_told_apart() -> None:
    """WCAG AA: 4.5 to 1 for text, light and dark."""
    css = (STATIC / "console.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        grounds = [colours["paper"], colours["card"]]
        texts = [colours[name] for name in ("ink", "faint", "link", "danger", "good")]
        buttons = [colours["link"], colours["danger"]]
        pairs = [(text, ground) for text in texts for ground in grounds]
        pairs += [(colours["button-ink"], button) for button in buttons]
        for pair in pairs:
            assert contrast(*pair) >= 4.5, pair


def contrast(first: str, second: str) -> float:
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
