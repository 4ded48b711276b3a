import re
from pathlib import Path

from grpc._cython import cygrpc

ROOT = Path(__file__).parents[4]


def test_the_library_knows_every_option_that_we_set() -> None:
    """It ignores what it does not know."""
    library = Path(cygrpc.__file__).read_bytes()
    used: dict[str, Path] = {}
    for folder in (
        "shared",
        "encoder_service",
        "recognizer_service",
        "command_line",
        "web_gateway",
    ):
        for path in (ROOT / folder).rglob("*.py"):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                names = re.findall(r'[("{ ]"(grpc\.[a-z0-9_.]+)"[,:]', path.read_text())
                used |= dict.fromkeys(names, path)
    assert len(used) > 10
    assert not {name: path for name, path in used.items() if name.encode() + b"\0" not in library}
