"""REST over the real encoder and the real recognizer, through a real server."""

import asyncio
import base64
import json
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.access import AccessFolder
from tests.services.hosting import Service, running_encoder, running_recognizer, running_web
from tests.services.web.rest import bearer, problem
from web_gateway.services import METHODS
from web_gateway.transcoding import MAPPED

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_mirrors_the_protocol(web: httpx.AsyncClient, maps: dict[str, CompactMap]) -> None:
    name = f"rest-{uuid.uuid4()}"
    created = await web.post(
        "/v1/collections", json={"collectionId": name, "sightingRetention": "60s"}
    )
    assert created.json()["collection"]["sightingRetention"] == "60s"
    assert problem(await web.post("/v1/collections", json={"collectionId": name}))[0] == 409
    changed = await web.patch(f"/v1/collections/{name}", json={"maxFpir": 0.05})
    assert changed.json()["collection"]["maxFpir"] == 0.05
    assert changed.json()["collection"]["sightingRetention"] == "60s"

    # An id may hold anything that a name does.
    path = f"/v1/collections/{name}/subjects/a%2Fb%20%3F%C3%A9"
    map_ = maps["joe_biden_blue_room"]
    document = {"codecId": map_.codec_id, "png": base64.b64encode(map_.png).decode()}
    enrolled = await web.post(
        f"/v1/collections/{name}/subjects",
        json={"subjectId": "a/b ?é", "maps": [document], "labels": ["staff"]},
    )
    assert enrolled.status_code == 200, enrolled.text
    got = (await web.get(path)).json()
    assert got["subject"]["subjectId"] == "a/b ?é"
    assert got["subject"]["revision"] == "1"  # 64 bits are text in JSON
    (face,) = got["faces"]
    listed = await web.get(f"/v1/collections/{name}/subjects", params={"labels": ["staff", "x"]})
    assert listed.json() == {"subjects": [], "nextPageToken": ""}
    listed = await web.get(f"/v1/collections/{name}/subjects", params={"labels": "staff"})
    assert len(listed.json()["subjects"]) == 1

    patched = await web.patch(path, json={"displayName": "A. B.", "revision": "1"})
    assert patched.json()["subject"]["displayName"] == "A. B."
    assert patched.json()["subject"]["labels"] == ["staff"]
    assert problem(await web.patch(path, json={"displayName": "C", "revision": "1"})) == (
        409,
        "REVISION_CHANGED",
    )
    asked = await web.post(
        "/v1/maps/identify",
        json={"collection": name, "probe": {"map": document}, "threshold": {"minSimilarity": 0.9}},
    )
    assert asked.json()["candidates"][0]["subjectId"] == "a/b ?é"
    picture = await web.post("/v1/maps/reconstruct", json={"probe": {"map": document}})
    assert base64.b64decode(picture.json()["png"]).startswith(b"\x89PNG")

    gone = await web.delete(f"/v1/collections/{name}/faces/{face['faceId']}")
    assert gone.json()["erasure"] != "0"
    deleted = await web.delete(path, params={"erasureWait": "30s"})
    assert deleted.json()["erased"] is True
    erasure = await web.get(f"/v1/erasures/{deleted.json()['erasure']}")
    assert erasure.json() == {"erased": True}
    assert problem(await web.get(path)) == (404, "SUBJECT_NOT_FOUND")
    events = (await web.get("/v1/audit-events", params={"collectionId": name})).json()["events"]
    assert events[-1]["operation"] == "AUDIT_OPERATION_DELETE_SUBJECT"
    assert (await web.delete(f"/v1/collections/{name}")).status_code == 200


async def test_bad_json_is_the_callers_fault(web: httpx.AsyncClient, collection: str) -> None:
    async def asked(content: bytes | str, kind: str = "application/json") -> tuple[int, str]:
        return problem(
            await web.post("/v1/maps/identify", content=content, headers={"content-type": kind})
        )

    for bad in (
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"probe": {"map": 7}}',
        b'{"maxSubjects": -1}',
        b'{"maxSubjects": 1e400}',
        b'{"stranger": 1}',
        b'{"collection": "\\ud800"}',
        b'{"probe":' * 100_000,
        json.dumps({"probe": {"map": {"png": ["x"]}}}).encode(),
    ):
        assert await asked(bad) == (400, "MALFORMED_REQUEST"), bad[:60]
    assert await asked(b"{}", "text/plain") == (415, "MEDIA_TYPE_UNSUPPORTED")
    assert await asked(bytes((1 << 20) + 1)) == (413, "BODY_TOO_LARGE")
    path = f"/v1/collections/{collection}"
    contradicted = await web.patch(path, json={"collectionId": "other", "maxFpir": 0.1})
    assert problem(contradicted) == (400, "PATH_CONTRADICTED")
    assert problem(await web.get(f"{path}/subjects?pageSize=-1")) == (400, "MALFORMED_REQUEST")
    assert problem(await web.get(f"{path}/subjects?page_size=1")) == (400, "PARAMETER_UNKNOWN")
    assert problem(await web.get(f"{path}/subjects/%ff")) == (400, "MALFORMED_REQUEST")
    assert problem(await web.get("/v1/nothing")) == (404, "NOT_FOUND")
    assert problem(await web.put(path)) == (405, "METHOD_NOT_ALLOWED")


async def test_rights_are_those_of_the_services(
    tiny_models: Path, tmp_path: Path, photos: dict[str, bytes]
) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    image = photos["joe_biden_blue_room"]
    everything = bearer(access.token("admin"))
    only_identify = bearer(access.token("encode", "identify", collections=["default"]))
    without_encode = bearer(access.token("identify"))
    for_the_encoder = access.token("encode")
    gallery = tmp_path / "gallery.sqlite"
    async with (
        running_encoder(tiny_models, access=access.path) as encoder,
        running_recognizer(tiny_models, gallery, access=access.path) as recognizer,
        running_web(encoder, recognizer) as web,
        running_web(encoder, recognizer, encoder_token=for_the_encoder) as trusted,
    ):
        refused = await web.post("/v1/identify", content=image)
        assert problem(refused) == (401, "NO_CREDENTIAL")
        assert refused.headers["www-authenticate"] == "Bearer"
        basic = {"authorization": "Basic eA=="}
        assert problem(await web.get("/v1/recognizer", headers=basic)) == (
            401,
            "NOT_A_BEARER_TOKEN",
        )
        path = "/v1/collections/default/subjects/joe"
        enrolled = await web.post(f"{path}/faces", content=image, headers=everything)
        assert enrolled.status_code == 201, enrolled.text
        asked = await web.post("/v1/identify", content=image, headers=only_identify)
        assert asked.status_code == 200, asked.text
        assert problem(await web.get(path, headers=only_identify)) == (403, "SCOPE_MISSING")
        elsewhere = {"collection": "other"}
        answer = await web.post(
            "/v1/identify", params=elsewhere, content=image, headers=only_identify
        )
        assert problem(answer) == (403, "COLLECTION_FORBIDDEN")
        assert problem(await web.post("/v1/identify", content=image, headers=without_encode)) == (
            403,
            "SCOPE_MISSING",
        )
        # The gateway's own token is for photographs of those whom the recognizer knows.
        # Nothing of a stranger's photograph is waited for.
        for path in ("/v1/identify", "/v1/encode", "/v1/verify"):
            assert await head_alone(trusted, path) == 401
        answer = await trusted.post("/v1/identify", content=image, headers=without_encode)
        assert answer.status_code == 200, answer.text
        assert problem(await trusted.post("/v1/identify", content=image)) == (401, "NO_CREDENTIAL")
        assert problem(await trusted.post("/v1/encode", content=image, headers=without_encode)) == (
            403,
            "SCOPE_MISSING",
        )


async def head_alone(web: httpx.AsyncClient, path: str) -> int:
    """The status of the answer to a request whose body never comes."""
    assert web.base_url.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", web.base_url.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n".encode())
    writer.write(b"Content-Length: 100000\r\n\r\n")
    async with asyncio.timeout(20):
        status = (await reader.readline()).split()[1]
    writer.close()
    return int(status)


async def test_no_photograph_touches_the_disk(
    encoder: Service, recognizer: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    async with running_web(encoder, recognizer) as web:
        answer = await web.post("/v1/identify", files={"image": bytes(3 << 20)})
        assert problem(answer)[0] == 400
        assert answer.json()["service"] == "encoder"


async def test_a_service_that_does_not_answer(
    encoder: Service, recognizer: Service, photos: dict[str, bytes], free_port: int
) -> None:
    image = photos["joe_biden_blue_room"]
    async with running_web(encoder, recognizer, timeout_seconds=0.000_1) as web:
        assert problem(await web.post("/v1/identify", content=image)) == (504, "DEADLINE_EXCEEDED")
    nowhere = f"127.0.0.1:{free_port}"
    async with running_web(encoder, recognizer, encoder_target=nowhere, timeout_seconds=2) as web:
        away = await web.post("/v1/identify", content=image)
        assert problem(away) == (503, "UNAVAILABLE")
        assert str(free_port) not in away.text  # no addresses from within
        health = await web.get("/v1/health")
        assert health.status_code == 503
        assert health.json() == {"encoder": "UNREACHABLE", "recognizer": "SERVING"}


async def test_a_body_that_does_not_arrive(encoder: Service, recognizer: Service) -> None:
    async with running_web(encoder, recognizer, upload_seconds=0.2) as web:

        async def slow() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.sleep(60)

        asking = asyncio.create_task(web.post("/v1/identify", content=slow()))
        answer = await asking
        assert problem(answer) == (408, "UPLOAD_TIMEOUT")


async def test_headers_ids_and_other_sites(
    web: httpx.AsyncClient, photos: dict[str, bytes]
) -> None:
    answer = await web.get("/v1/recognizer", headers={"x-request-id": "door-7/42"})
    assert answer.headers["x-request-id"] == "door-7/42"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers

    image = photos["joe_biden_blue_room"]
    for foreign in (
        {"origin": "https://elsewhere.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        refused = await web.post("/v1/identify", content=image, headers=foreign)
        assert problem(refused) == (403, "CROSS_ORIGIN")
    rebound = await web.get("/v1/recognizer", headers={"host": "elsewhere.example"})
    assert problem(rebound) == (421, "HOST_UNKNOWN")


async def test_a_caller_that_asks_too_often_is_told_when_to_come_back(
    encoder: Service, recognizer: Service
) -> None:
    async with running_web(encoder, recognizer, max_requests_per_second=0.01) as web:
        assert (await web.get("/v1/recognizer")).status_code == 200
        refused = await web.get("/v1/recognizer")
        assert problem(refused) == (429, "RATE_LIMITED")
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert (await web.get("/v1/health")).status_code == 200
        assert (await web.get("/static/console.css")).status_code == 200
        other = {"authorization": "Bearer cf_other"}
        assert (await web.get("/v1/recognizer", headers=other)).status_code == 200


async def test_the_document_describes_every_path(web: httpx.AsyncClient) -> None:
    document = (await web.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    references = json.dumps(document).split('"$ref": "')[1:]
    names = {reference.split('"')[0].rsplit("/", 1)[1] for reference in references}
    assert names <= document["components"]["schemas"].keys()
    post = document["paths"]["/v1/identify"]["post"]
    assert {parameter["name"] for parameter in post["parameters"]} >= {"collection", "maxFpir"}
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)


async def test_every_method_of_the_protocol_has_a_path_or_is_known_to_have_none() -> None:
    streams = {"EncodeStream", "StreamMaps", "BulkEnroll", "Export", "Import"}
    as_events = {"WatchSightings"}
    takes_photographs = {"Encode"}
    of_the_operator = {"Reembed"}
    mapped = {each.method for each in MAPPED}
    assert METHODS.keys() - mapped == streams | as_events | takes_photographs | of_the_operator
