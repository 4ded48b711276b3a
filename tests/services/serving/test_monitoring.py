"""Dashboards, rules and alerts against a Prometheus that scraped a real run."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import httpx
import pytest
import pytest_asyncio
import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from camera_gateway.gateway import Gateway
from camera_gateway.settings import load_settings
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import EncodeRequest
from compactface.v1.gallery_pb2 import EnrollRequest
from compactface.v1.recognizer_pb2 import IdentifyRequest, StreamMapsRequest, VerifyRequest
from shared.serving.process_metrics import process_registry
from tests.camera_clip import OBAMA, Walk, write_clip
from tests.deployed import RULES, panels, rules
from tests.services.authority import Authority
from tests.services.conftest import unused_port
from tests.services.processes import Process, process

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

PROMETHEUS = shutil.which("prometheus")
without_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed")
METRIC = re.compile(r"(?<![\w:])((?:compactface|grpc|process)_\w+|up)(?:\{([^}]*)\})?")


class Prometheus:
    """A server that scrapes every second."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, query: str) -> list[float]:
        """The values of a query now, without those that are not numbers."""
        answer = await self._client.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}\n{answer.text}"
        values = [float(each["value"][1]) for each in answer.json()["data"]["result"]]
        return [value for value in values if value == value]  # noqa: PLR0124 - not NaN

    async def until(self, query: str, *, seconds: float = 60) -> None:
        """Wait for data, which may need two scrapes and an evaluation more."""
        try:
            await finally_true(partial(self.ask, query), seconds=seconds)
        except TimeoutError:
            pytest.fail(f"no data after {seconds:.0f} s: {query}")


@asynccontextmanager
async def scraping(folder: Path, targets: dict[str, str]) -> AsyncIterator[Prometheus]:
    """Prometheus with the deployed rules and jobs, on other targets."""
    deployed = yaml.safe_load((RULES / "prometheus.yml").read_text())
    jobs = [job["job_name"] for job in deployed["scrape_configs"]]
    assert sorted(jobs) == sorted(targets)
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES / name) for name in deployed["rule_files"]],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{unused_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"),
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://{address}", trust_env=False, timeout=30
        ) as client:
            await finally_true(partial(ready, client))
            yield Prometheus(client)
    finally:
        child.terminate()
        await child.wait()


async def finally_true(ask: Callable[[], Awaitable[object]], *, seconds: float = 30) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.2)


async def ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/-/ready")).status_code == 200
    except httpx.TransportError:
        return False


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prometheus(
    tiny_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
    people: list[CompactMap],
    again: list[CompactMap],
    photos: dict[str, bytes],
) -> AsyncIterator[Prometheus]:
    """Prometheus, after a run in which everything happens that a panel shows."""
    if PROMETHEUS is None:
        pytest.skip("Prometheus is not installed")
    folder = tmp_path_factory.mktemp("run")
    certificate, key = Authority(folder, "authority").issue("web")
    film = write_clip(folder / "film.mkv", [Walk(OBAMA, 0, 4)], seconds=4)
    async with AsyncExitStack() as stack:

        async def started(service: str, **settings: object) -> Process:
            run = process(service, folder / f"{service}.log", **settings)
            return await stack.enter_async_context(run)

        recognizer = await started(
            "recognizer", models=tiny_models, gallery=folder / "gallery.sqlite"
        )
        (at,) = recognizer.events("listening")
        encoder = await started(
            "encoder",
            models=tiny_models,
            uplink_target=at["address"],
            uplink_spool=folder / "spool",
        )
        (encoder_at,) = encoder.events("listening")
        web = await started(
            "web",
            encoder_target=encoder_at["address"],
            recognizer_target=at["address"],
            tls_certificate=certificate,
            tls_key=key,
        )
        (web_at,) = web.events("listening")
        camera_port = unused_port()
        targets = {
            "recognizer": recognizer.metrics_address,
            "encoder": encoder.metrics_address,
            "web": web.metrics_address,
            "camera": f"127.0.0.1:{camera_port}",
        }
        watching = await stack.enter_async_context(scraping(folder, targets))
        options = {"encoder": encoder_at["address"], "metrics_port": camera_port, "every": 1}
        camera = load_settings([str(film)], **options)
        # It serves its metrics until it is closed, also after the end of the film.
        gateway = stack.enter_context(Gateway(camera, process_registry(camera)))
        busy = asyncio.create_task(
            traffic(
                recognizer,
                encoder,
                f"https://{web_at['address']}",
                people=people,
                again=again,
                photos=photos,
            )
        )
        try:
            for query in (
                "compactface_camera_sightings_total > 0",
                "compactface_uplink_acknowledged_total > 0",
                "question:compactface_match_similarity:mean7d",
                'rate(compactface_probe_quality_count{question="sighting"}[30s]) > 0',
                "rate(compactface_web_requests_total[30s]) > 0",
            ):
                await watching.until(query)
                assert gateway.error is None
            yield watching
        finally:
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)


async def traffic(
    recognizer: Process,
    encoder: Process,
    web: str,
    *,
    people: list[CompactMap],
    again: list[CompactMap],
    photos: dict[str, bytes],
) -> None:
    """Calls of every kind, right and wrong, until it is cancelled."""
    for subject, face in (("ada", people[0]), ("bob", people[1])):
        await recognizer.gallery.Enroll(EnrollRequest(subject_id=subject, maps=[face]))
    async with httpx.AsyncClient(base_url=web, verify=False, trust_env=False) as client:  # noqa: S501 - a test's own authority
        number = 0
        while True:
            number += 1
            identify, verify = IdentifyRequest(), VerifyRequest(subject_id="ada")
            identify.probe.map.CopyFrom(again[0])
            verify.probe.map.CopyFrom(again[0])
            await recognizer.recognizer.Identify(identify)
            await recognizer.recognizer.Verify(verify)
            seen = StreamMapsRequest(
                sighting_id=f"00000000-0000-4000-8000-{number:012}", map=again[0]
            )
            async for _ in recognizer.recognizer.StreamMaps(iter([seen])):
                pass
            image = photos["eileen_collins_portrait"]
            await encoder.encoder.Encode(EncodeRequest(image=image))
            await client.get("/v1/recognizer")
            with pytest.raises(grpc.aio.AioRpcError):
                await recognizer.recognizer.Identify(IdentifyRequest())
            await asyncio.sleep(0.2)


@pytest.mark.parametrize(("name", "query"), [pytest.param(*each, id=each[0]) for each in panels()])
@without_prometheus
async def test_every_query_of_every_panel_finds_data(
    prometheus: Prometheus, name: str, query: str
) -> None:
    del name  # it names the test
    await prometheus.until(query)


@pytest.mark.parametrize("name", [name for name, _ in rules("record")])
@without_prometheus
async def test_every_recording_rule_has_recorded(prometheus: Prometheus, name: str) -> None:
    await prometheus.until(name)


@pytest.mark.parametrize(
    ("name", "expression"), [pytest.param(*each, id=each[0]) for each in rules("alert")]
)
@without_prometheus
async def test_every_alert_reads_metrics_that_exist(
    prometheus: Prometheus, name: str, expression: str
) -> None:
    """An alert that is silent has no data, but its metrics and labels have."""
    expression = re.sub(r"(?:by|on) \([^)]*\)", "", expression)
    found = METRIC.findall(expression) or re.findall(r"(question:\w+:\w+)()", expression)
    assert found, name
    for metric, matchers in found:
        labels = re.findall(r"(\w+)\s*[=!]", matchers)
        wanted = ",".join(f'{label}!=""' for label in labels)
        await prometheus.until(f"{metric}{{{wanted}}}")


@without_prometheus
async def test_a_healthy_run_alerts_nobody(prometheus: Prometheus) -> None:
    assert await prometheus.ask('ALERTS{alertstate="firing",severity="critical"}') == []
