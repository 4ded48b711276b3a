"""Alert rules and their outbox, in SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event

from recognizer_service.gallery.alerts import ringing
from recognizer_service.gallery.alerts.ringing import Rung
from recognizer_service.gallery.alerts.rules import MAX_RULES, AlertRule
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting, SightingFinding, SightingMatch
from recognizer_service.gallery.storage.locations import Location
from shared.errors import CompactfaceError, FailedPrecondition, InvalidInput, NotFound
from tests.clock import Clock
from tests.gallery_faces import SPACE, new_face, person, store

SECRET = "whsec_" + 32 * "A"
WEBHOOK = AlertRule(url="https://example.org/alerts", secret=SECRET)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(location: Location, clock: Clock) -> Iterator[Gallery]:
    with Gallery(location, embedding_space=SPACE, now=clock, elapsed_s=clock.elapsed_s) as opened:
        opened.collections.create("site", sighting_retention_s=3600)
        opened.enroll("site", person(1, subject_id="ann", name="Ann"))
        opened.enroll("site", person(2, subject_id="bob", name="Bob"))
        yield opened


def match(subject_id: str) -> SightingFinding:
    whom = SightingMatch(subject_id, "", "face", 0.75, 0.5, 0.001, 2, extrapolated=False)
    return SightingFinding("match", match=whom)


UNKNOWN = SightingFinding("no_match")
MAP = (new_face(9).codec_id, new_face(9).png, 0.5, None)


def see(
    gallery: Gallery, *findings: SightingFinding, camera: str = "door", at: datetime | None = None
) -> tuple[Rung, list[str]]:
    """Sightings come and are identified: what rang, and their ids."""
    ids = [str(uuid4()) for _ in findings]
    face = new_face(9)
    for id_ in ids:
        seen = Sighting(id_, camera, face.codec_id, face.png, 0.5, at)
        store(gallery, "site", seen)
    pending = gallery.sightings.unidentified(after=0, most=2000)
    keys = [one.key for one in pending if one.sighting.sighting_id in ids]
    return gallery.sightings.keep_findings(dict(zip(keys, findings, strict=True))), ids


def waiting(gallery: Gallery) -> list[str]:
    """Whom events wait for of, oldest first."""
    keys = [
        key for one in gallery.alerts.targets() for key in gallery.alerts.waiting_for(one.rule_key)
    ]
    found = [gallery.alerts.get(key) for key in sorted(keys)]
    return [alert.subject_id if alert else "gone" for alert in found]


def test_a_rule_about_a_subject_rings_for_that_subject(gallery: Gallery) -> None:
    rule = gallery.alert_rules.create("site", replace(WEBHOOK, subject_id="ann"))
    _, (_, of_ann) = see(gallery, match("bob"), match("ann"))
    see(gallery, UNKNOWN, SightingFinding("low_quality"), SightingFinding("", failure="INTERNAL"))
    (target,) = gallery.alerts.targets()
    assert (target.rule_id, target.url, target.secret) == (rule.rule_id, WEBHOOK.url, SECRET)
    (key,) = gallery.alerts.waiting_for(target.rule_key)
    alert = gallery.alerts.get(key)
    assert alert is not None
    assert (alert.sighting_id, alert.collection_id, alert.camera_id) == (of_ann, "site", "door")
    assert (alert.subject_id, alert.display_name) == ("ann", "Ann")
    assert (alert.similarity, alert.threshold) == (0.75, 0.5)
    assert gallery.alert_rules.get("site", rule.rule_id).waiting == 1
    gallery.alerts.delivered(key)
    assert gallery.alerts.targets() == []


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the statements of all databases."""
    count: Counter[str] = Counter()

    def note(*given: Any) -> None:
        count[str(given[2]).split()[0]] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield count
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_many_sightings_take_as_many_statements_as_few(gallery: Gallery) -> None:
    gallery.subjects.update("site", "bob", labels=("vip",))
    for rule in (
        replace(WEBHOOK, subject_id="ann", quiet_s=60),
        replace(WEBHOOK, label="vip", quiet_s=60),
        WEBHOOK,
    ):
        gallery.alert_rules.create("site", rule)
    counts = []
    for times in (1, 10):
        ids = [str(uuid4()) for _ in range(3 * times)]
        for id_ in ids:
            store(gallery, "site", Sighting(id_, "door", *MAP))
        pending = gallery.sightings.unidentified(after=0, most=100)
        findings = [match("ann"), match("bob"), UNKNOWN] * times
        with counted() as count:
            gallery.sightings.keep_findings(
                {one.key: finding for one, finding in zip(pending, findings, strict=True)}
            )
            found = gallery.sightings.find("site", ids)
        counts.append(count["SELECT"])
        assert [one.sighting.sighting_id for one in found] == ids
    assert sorted(waiting(gallery)) == [*(11 * [""]), "ann", "bob"]
    assert counts[0] == counts[1]


def test_a_label_is_a_watch_list(gallery: Gallery) -> None:
    gallery.alert_rules.create("site", replace(WEBHOOK, label="vip"))
    see(gallery, match("ann"), UNKNOWN)
    assert waiting(gallery) == []
    gallery.subjects.update("site", "ann", labels=("vip",))
    see(gallery, match("ann"), match("bob"))
    assert waiting(gallery) == ["ann"]


@pytest.mark.parametrize("decision", ["no_match", "empty_gallery"])
def test_the_unknown_ring(gallery: Gallery, decision: str) -> None:
    gallery.alert_rules.create("site", WEBHOOK)
    see(gallery, match("ann"), SightingFinding(decision), SightingFinding("low_quality"))
    assert waiting(gallery) == [""]


def test_a_rule_may_be_about_one_camera(gallery: Gallery) -> None:
    gallery.alert_rules.create("site", replace(WEBHOOK, camera_id="door"))
    see(gallery, UNKNOWN, camera="yard")
    assert waiting(gallery) == []
    see(gallery, UNKNOWN, camera="door")
    assert waiting(gallery) == [""]


def test_a_rule_may_be_about_the_cameras_of_an_encoder(gallery: Gallery) -> None:
    gallery.alert_rules.create("site", replace(WEBHOOK, camera_id="north"))
    for camera in ("door", "north-east/door", "North/door", "south/north"):
        see(gallery, UNKNOWN, camera=camera)
    assert waiting(gallery) == []
    see(gallery, UNKNOWN, camera="north/door")
    see(gallery, UNKNOWN, camera="north")
    assert waiting(gallery) == ["", ""]


def test_rules_are_about_their_collection(gallery: Gallery) -> None:
    gallery.alert_rules.create("default", WEBHOOK)
    see(gallery, UNKNOWN)
    assert waiting(gallery) == []


def test_one_person_does_not_ring_for_each_sighting(gallery: Gallery, clock: Clock) -> None:
    gallery.alert_rules.create("site", replace(WEBHOOK, label="staff", quiet_s=600))
    gallery.subjects.update("site", "ann", labels=("staff",))
    gallery.subjects.update("site", "bob", labels=("staff",))
    clock.time += 60 * MINUTE
    now = clock.time
    see(gallery, match("ann"), match("ann"), at=now)
    see(gallery, match("ann"), camera="yard", at=now)
    see(gallery, match("bob"), at=now)
    assert waiting(gallery) == ["ann", "bob"]
    see(gallery, match("ann"), at=now - 9 * MINUTE)  # came late, from a camera that was cut off
    assert waiting(gallery) == ["ann", "bob"]
    see(gallery, match("ann"), at=now - 10 * MINUTE)
    assert waiting(gallery) == ["ann", "bob", "ann"]
    see(gallery, match("ann"), at=now)
    assert waiting(gallery) == ["ann", "bob", "ann", "ann"]


def test_the_unknown_are_one_person_at_each_camera(gallery: Gallery) -> None:
    gallery.alert_rules.create("site", replace(WEBHOOK, quiet_s=600))
    see(gallery, UNKNOWN, UNKNOWN)
    see(gallery, UNKNOWN, camera="yard")
    assert waiting(gallery) == ["", ""]


def test_a_sighting_that_is_identified_anew_does_not_ring(gallery: Gallery) -> None:
    _, (id_,) = see(gallery, UNKNOWN)
    gallery.alert_rules.create("site", replace(WEBHOOK, subject_id="ann"))
    (seen,) = gallery.sightings.find("site", [id_])
    assert gallery.sightings.keep_findings({seen.key: match("ann")}) == Rung()
    assert waiting(gallery) == []


def test_what_is_deleted_takes_along_what_waits(gallery: Gallery) -> None:
    gallery.alert_rules.create("site", WEBHOOK)
    of_ann = gallery.alert_rules.create("site", replace(WEBHOOK, subject_id="ann"))
    gallery.alert_rules.create("site", replace(WEBHOOK, label="vip"))
    gallery.subjects.update("site", "ann", labels=("vip",))
    _, (first, _, _) = see(gallery, UNKNOWN, UNKNOWN, match("ann"))
    assert waiting(gallery) == ["", "", "ann", "ann"]
    gallery.sightings.delete("site", sighting_ids=[first])
    assert waiting(gallery) == ["", "ann", "ann"]
    gallery.subjects.delete("site", "ann")
    assert waiting(gallery) == [""]
    with pytest.raises(NotFound) as gone:
        gallery.alert_rules.get("site", of_ann.rule_id)
    assert gone.value.reason == "ALERT_RULE_NOT_FOUND"
    gallery.collections.delete("site", force=True)
    assert waiting(gallery) == []
    assert gallery.check().ok


def test_a_rule_goes_with_what_waits(gallery: Gallery) -> None:
    rule = gallery.alert_rules.create("site", WEBHOOK)
    see(gallery, UNKNOWN)
    gallery.alert_rules.delete("site", rule.rule_id, caller="root")
    assert gallery.alerts.waiting() == 0
    assert gallery.alert_rules.list("site").items == ()
    events = [event.operation for event in gallery.audit.list(collection_id="site").items]
    assert events[-2:] == ["create_alert_rule", "delete_alert_rule"]
    with pytest.raises(NotFound):
        gallery.alert_rules.delete("site", rule.rule_id)


def test_what_waits_goes_with_its_sightings_time_and_is_counted(
    gallery: Gallery, clock: Clock
) -> None:
    gallery.alert_rules.create("site", WEBHOOK)
    see(gallery, UNKNOWN)
    clock.time += 30 * MINUTE
    see(gallery, UNKNOWN)
    assert (gallery.alerts.waiting(), gallery.alerts.oldest_s()) == (2, 1800)
    clock.time += 30 * MINUTE
    assert gallery.purge_expired().alerts == 1
    assert (gallery.alerts.waiting(), gallery.alerts.oldest_s()) == (1, 1800)


def test_a_target_that_is_away_pushes_out_its_own_oldest_and_nobody_elses(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ringing, "MAX_WAITING", 2)
    gallery.alert_rules.create("site", replace(WEBHOOK, subject_id="ann"))
    gallery.alert_rules.create("site", WEBHOOK)
    assert see(gallery, match("ann"), UNKNOWN)[0] == Rung(2, 0)
    assert see(gallery, UNKNOWN, UNKNOWN)[0] == Rung(2, 1)
    assert waiting(gallery) == ["ann", "", ""]


def test_waiting_events_and_rules_outlive_the_process(gallery: Gallery, location: Location) -> None:
    rule = gallery.alert_rules.create("site", replace(WEBHOOK, label="vip", quiet_s=60))
    gallery.subjects.update("site", "ann", labels=("vip",))
    see(gallery, match("ann"))
    gallery.close()
    with Gallery(location, embedding_space=SPACE) as again:
        assert waiting(again) == ["ann"]
        assert again.alert_rules.get("site", rule.rule_id) == replace(rule, waiting=1)


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"label": "x" * 65}, "INVALID_LENGTH", "rule.label"),
        ({"camera_id": "x" * 129}, "INVALID_LENGTH", "rule.camera_id"),
        ({"quiet_s": -1}, "OUT_OF_RANGE", "rule.quiet_time"),
        ({"quiet_s": 30 * 86400 + 1}, "OUT_OF_RANGE", "rule.quiet_time"),
        ({"url": "http://example.org"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "http://127.0.0.1.example.org"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "http://localhost@example.org"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "ftp://example.org"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "file:///etc/passwd"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "https://"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "https://example.org:99999"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "https://[::1"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "https://me:pa55word@example.org"}, "INVALID_URL", "rule.webhook.url"),
        ({"url": "https://example.org/\r\nx"}, "UNPRINTABLE_TEXT", "rule.webhook.url"),
        ({"url": "https://example.org/" + 2048 * "x"}, "INVALID_LENGTH", "rule.webhook.url"),
        ({"secret": ""}, "INVALID_SECRET", "rule.webhook.secret"),
        ({"secret": "whsec_c2hvcnQ="}, "INVALID_SECRET", "rule.webhook.secret"),
        ({"secret": 32 * "A"}, "INVALID_SECRET", "rule.webhook.secret"),
        ({"secret": "whsec_pa55word!" + 32 * "A"}, "INVALID_SECRET", "rule.webhook.secret"),
        ({"secret": "whsec_" + 88 * "A"}, "INVALID_SECRET", "rule.webhook.secret"),
        ({"subject_id": "nobody"}, "SUBJECT_NOT_FOUND", "subject_id"),
    ],
)
def test_bad_rules_are_refused(
    gallery: Gallery, change: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises((InvalidInput, NotFound)) as refused:
        gallery.alert_rules.create("site", replace(WEBHOOK, **change))
    error: CompactfaceError = refused.value
    assert (error.reason, error.field) == (reason, field)
    assert "pa55word" not in error.message
    assert gallery.alert_rules.list("site").items == ()


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.9.0.1/", "http://[::1]:8080/a"])
def test_this_machine_may_be_told_without_tls(gallery: Gallery, url: str) -> None:
    assert gallery.alert_rules.create("site", replace(WEBHOOK, url=url)).url == url


def test_a_collection_has_so_many_rules(gallery: Gallery) -> None:
    for _ in range(MAX_RULES):
        gallery.alert_rules.create("site", WEBHOOK)
    with pytest.raises(FailedPrecondition) as refused:
        gallery.alert_rules.create("site", WEBHOOK)
    assert refused.value.reason == "TOO_MANY_ALERT_RULES"
    page = gallery.alert_rules.list("site", page_size=60)
    rest = gallery.alert_rules.list("site", page_size=60, page_token=page.next_page_token)
    assert len({rule.rule_id for rule in (*page.items, *rest.items)}) == MAX_RULES


def test_secrets_are_shown_by_no_repr(gallery: Gallery) -> None:
    gallery.alert_rules.create("site", WEBHOOK)
    see(gallery, UNKNOWN)
    assert SECRET not in repr(gallery.alert_rules.list("site")) + repr(gallery.alerts.targets())
