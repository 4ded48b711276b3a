"""A browser without scripts, for the console's pages."""

import re
from html import unescape
from typing import Any

import httpx


class Browser:
    """Follows redirects, keeps cookies, and sends the forms that pages hold."""

    def __init__(self, base_url: httpx.URL) -> None:
        self.client = httpx.AsyncClient(
            base_url=base_url, follow_redirects=True, timeout=30, trust_env=False
        )
        self.page: httpx.Response

    async def open(self, path: str) -> str:
        self.page = await self.client.get(path)
        return self.page.text

    async def send(self, action: str, image: bytes | None = None, **fields: str) -> str:
        """Submit the form of the present page with that action."""
        form = self.form(action)
        files: Any = {"image": image} if image else {"unused": b""}
        self.page = await self.client.post(unescape(action), data=form | fields, files=files)
        return self.page.text

    def form(self, action: str) -> dict[str, str]:
        """The hidden fields of a form of the present page."""
        (form, *_) = re.findall(
            rf'<form method="post" action="{re.escape(action)}".*?</form>',
            self.page.text,
            re.DOTALL,
        )
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
        return {name: unescape(value) for name, value in hidden}


async def sign_in(browser: Browser, token: str) -> str:
    """Sign in; the page that comes then."""
    await browser.open("/sign-in")
    browser.page = await browser.client.post("/sign-in", data={"token": token})
    return browser.page.text
