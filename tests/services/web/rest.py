"""Credentials and answers of the REST interface."""

import httpx


def bearer(token: str) -> dict[str, str]:
    """The headers of a caller with this token."""
    return {"authorization": f"Bearer {token}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document["detail"]
    return answer.status_code, document["reason"]
