"""Photographs over REST: faces are named, enrolled and verified, and bad requests are explained."""

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.services.web.photographs import side_by_side
from tests.services.web.rest import problem

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def two_people(photos: dict[str, bytes]) -> bytes:
    return side_by_side(photos["eileen_collins_portrait"], photos["joe_biden_blue_room"])


async def enroll(web: httpx.AsyncClient, collection: str, subject: str, image: bytes) -> Any:
    answer = await web.post(
        f"/v1/collections/{collection}/subjects/{subject}/faces",
        params={"displayName": subject.title(), "onDuplicate": "ON_DUPLICATE_ALLOW"},
        content=image,
        headers={"content-type": "image/jpeg"},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_names_every_face_of_a_photograph(
    web: httpx.AsyncClient, collection: str, photos: dict[str, bytes], two_people: bytes
) -> None:
    await enroll(web, collection, "collins", photos["eileen_collins_portrait"])
    await enroll(web, collection, "biden", photos["joe_biden_blue_room"])

    answer = await web.post(
        "/v1/identify",
        params={"collection": collection, "minSimilarity": "0.5", "maxSubjects": 2},
        files={"image": two_people},
    )

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["facesFound"] == len(found["faces"]) == 2
    by_place = sorted(found["faces"], key=lambda face: face["box"]["x"])
    named = [face["identification"]["candidates"][0] for face in by_place]
    assert [candidate["displayName"] for candidate in named] == ["Collins", "Biden"]
    assert {face["identification"]["decision"] for face in by_place} == {"IDENTIFY_DECISION_MATCH"}


async def test_a_photograph_carries_the_liveness_that_its_client_claims(
    web: httpx.AsyncClient, collection: str, photos: dict[str, bytes]
) -> None:
    image = photos["joe_biden_blue_room"]
    changed = await web.patch(f"/v1/collections/{collection}", json={"minLiveness": 0.9})
    assert changed.status_code == 200, changed.text
    faces = f"/v1/collections/{collection}/subjects/joe/faces"
    here = {"collection": collection, "minSimilarity": "0.9"}

    async def post(path: str, liveness: str, **asked: str) -> httpx.Response:
        claimed = {"liveness": liveness} if liveness else {}
        return await web.post(path, params=asked | claimed, files={"image": image})

    for liveness in ("", "0.89"):
        assert problem(await post(faces, liveness)) == (400, "LIVENESS_TOO_LOW")
        assert problem(await post("/v1/identify", liveness, **here)) == (400, "LIVENESS_TOO_LOW")
    assert (await post(faces, "0.9")).status_code == 201
    unclaimed = await post("/v1/verify", "", subjectId="joe", **here)
    assert problem(unclaimed) == (400, "LIVENESS_TOO_LOW")
    verified = await post("/v1/verify", "1", subjectId="joe", **here)
    assert verified.json()["faces"][0]["verification"]["decision"] == "VERIFY_DECISION_MATCH"
    found = await post("/v1/identify", "0.95", **here)
    assert found.json()["faces"][0]["identification"]["candidates"][0]["subjectId"] == "joe"
    for liveness in ("1.1", "-0.1", "nan", "sure"):
        assert problem(await post(faces, liveness)) == (400, "OUT_OF_RANGE")


async def test_raw_body_and_form_say_the_same(
    web: httpx.AsyncClient, collection: str, photos: dict[str, bytes]
) -> None:
    image = photos["joe_biden_blue_room"]
    await enroll(web, collection, "joe", image)
    asked = {"params": {"collection": collection, "minSimilarity": 0.9}}
    raw = await web.post("/v1/identify", content=image, **asked)
    form = await web.post("/v1/identify", files={"image": image}, **asked)
    raw_faces, form_faces = (answer.json()["faces"] for answer in (raw, form))
    for face in (*raw_faces, *form_faces):
        del face["identification"]["timings"]
    assert raw_faces == form_faces
    assert raw_faces[0]["identification"]["candidates"][0]["subjectId"] == "joe"


async def test_a_photograph_without_face_is_a_normal_answer(
    web: httpx.AsyncClient, collection: str
) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (200, 200), "grey").save(blank, "PNG")
    answer = await web.post(
        "/v1/identify", params={"collection": collection}, content=blank.getvalue()
    )
    assert (answer.status_code, answer.json()) == (200, {"faces": [], "facesFound": 0})


async def test_enrolling_takes_no_face_by_itself(
    web: httpx.AsyncClient, collection: str, two_people: bytes
) -> None:
    path = f"/v1/collections/{collection}/subjects/somebody/faces"
    refused = await web.post(path, content=two_people)
    assert problem(refused) == (422, "SEVERAL_FACES")
    faces = refused.json()["faces"]
    assert [face["index"] for face in faces] == [0, 1]
    assert all(face["box"]["width"] > 0 for face in faces)
    assert problem(await web.get(f"/v1/collections/{collection}/subjects/somebody")) == (
        404,
        "SUBJECT_NOT_FOUND",
    )

    chosen = await web.post(path, params={"face": 1}, content=two_people)
    assert chosen.status_code == 201, chosen.text
    assert chosen.json()["photograph"]["face"] == 1
    assert chosen.json()["photograph"]["faces"] == faces
    assert chosen.json()["subject"]["faceCount"] == 1

    beyond = await web.post(path, params={"face": 2}, content=two_people)
    assert problem(beyond) == (422, "FACE_OUT_OF_RANGE")


async def test_enrolling_needs_a_face(web: httpx.AsyncClient, collection: str) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (200, 200), "grey").save(blank, "PNG")
    answer = await web.post(
        f"/v1/collections/{collection}/subjects/nobody/faces", content=blank.getvalue()
    )
    assert problem(answer) == (422, "NO_FACE")


async def test_verifies_against_a_subject_and_against_a_second_photograph(
    web: httpx.AsyncClient, collection: str, photos: dict[str, bytes]
) -> None:
    image = photos["eileen_collins_portrait"]
    await enroll(web, collection, "collins", image)
    asked = {"collection": collection, "minSimilarity": 0.9}

    by_subject = await web.post(
        "/v1/verify", params={**asked, "subjectId": "collins"}, content=image
    )
    by_picture = await web.post(
        "/v1/verify", params=asked, files={"image": image, "reference": image}
    )

    for answer in (by_subject, by_picture):
        assert answer.status_code == 200, answer.text
        (face,) = answer.json()["faces"]
        assert face["verification"]["decision"] == "VERIFY_DECISION_MATCH"
        assert face["verification"]["similarity"] == pytest.approx(1, abs=0.01)
    assert by_picture.json()["reference"]["box"]["width"] > 0


async def test_verify_wants_one_reference(
    web: httpx.AsyncClient, photos: dict[str, bytes], two_people: bytes
) -> None:
    image = photos["joe_biden_blue_room"]
    assert problem(await web.post("/v1/verify", content=image)) == (400, "REFERENCE_MISSING")
    both = await web.post(
        "/v1/verify", params={"subjectId": "x"}, files={"image": image, "reference": image}
    )
    assert problem(both) == (400, "REFERENCE_AMBIGUOUS")
    several = await web.post("/v1/verify", files={"image": image, "reference": two_people})
    assert problem(several) == (422, "SEVERAL_FACES")
    assert several.json()["field"] == "referenceFace"


async def test_says_what_is_wrong_with_a_photograph(web: httpx.AsyncClient) -> None:
    async def asked(**request: Any) -> tuple[int, str]:
        return problem(await web.post("/v1/identify", **request))

    bad = await web.post("/v1/identify", content=b"\xff\xd8\xff\xe0 not a picture")
    assert problem(bad)[0] == 400
    assert bad.json()["field"] == "image"
    assert bad.json()["service"] == "encoder"
    assert await asked(content=b"") == (400, "IMAGE_MISSING")
    assert await asked(files={"picture": b"x"}) == (400, "IMAGE_MISSING")
    assert await asked(content=bytes(1 << 21)) == (413, "BODY_TOO_LARGE")
    assert await asked(content=chunks(bytes(1 << 19), 4)) == (413, "BODY_TOO_LARGE")
    broken = {"content-type": "multipart/form-data"}
    assert await asked(content=b"x", headers=broken) == (400, "MALFORMED_REQUEST")


async def chunks(chunk: bytes, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield chunk


async def test_refuses_parameters_that_it_does_not_know(
    web: httpx.AsyncClient, photos: dict[str, bytes]
) -> None:
    image = photos["joe_biden_blue_room"]

    async def asked(query: str) -> tuple[int, str]:
        return problem(await web.post(f"/v1/identify?{query}", content=image))

    assert await asked("maxfpir=0.1") == (400, "PARAMETER_UNKNOWN")
    assert await asked("maxFpir=0.1&maxFpir=0.2") == (400, "PARAMETER_REPEATED")
    assert await asked("maxFpir=few") == (400, "OUT_OF_RANGE")
    assert await asked("maxFpir=2") == (400, "INVALID_THRESHOLD")
    assert await asked("maxFpir=nan") == (400, "INVALID_THRESHOLD")
    assert await asked("maxFpir=0.1&minSimilarity=0.1") == (400, "THRESHOLD_AMBIGUOUS")
    assert await asked("maxSubjects=-1") == (400, "OUT_OF_RANGE")
    assert await asked("includeCrops=maybe") == (400, "OUT_OF_RANGE")
    assert await asked("collection=nowhere") == (404, "COLLECTION_NOT_FOUND")


async def test_looks_at_no_more_faces_than_a_batch_holds(
    web: httpx.AsyncClient, collection: str, photos: dict[str, bytes]
) -> None:
    crowd = side_by_side(*[photos["eileen_collins_portrait"]] * 5)  # the recognizer takes 4
    answer = (
        await web.post("/v1/identify", params={"collection": collection}, content=crowd)
    ).json()
    assert (len(answer["faces"]), answer["facesFound"]) == (4, 5)
