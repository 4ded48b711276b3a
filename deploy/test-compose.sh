#!/usr/bin/env bash
# Builds the images, starts edge and centre of deploy/ on the CPU and uses them: enrolls and
# identifies through the published ports, forwards a face from container to container, measures the
# healthchecks, restarts the recognizer, changes to another model while faces are identified, kills the
# recognizer and waits for the alert, and stops everything gracefully. Then all of it with mutual TLS
# and tokens made by deploy/init.sh. Prints what it sees; ends with 0 only if all of it is right.
# Needs `make setup`.
#
# Variables, all optional:
#   ENGINE            docker or podman; default: the first of them that works
#   COMPOSE           default: "docker compose" or "podman-compose"
#   BASE_IMAGE        a Debian or Ubuntu with Python 3.11 and venv; default: python:3.11-slim
#   PROMETHEUS_IMAGE  default: the one of compose.centre.yaml; "debian" builds deploy/prometheus.Dockerfile
#                     on BASE_IMAGE, for machines that cannot pull images
#   BUILD_ARGS        further arguments of "$ENGINE build", split at spaces, e.g.
#                     "--network host --secret id=pip,src=$HOME/.config/pip/pip.conf"
#   MODELS            folder of model families, which is copied; default: deploy/models
#   BIN               folder of the `compactface` and `python` to use; default: .venv/bin
#   ENCODER_PORT, RECOGNIZER_PORT, WEB_PORT, PROMETHEUS_PORT
#                     published on 127.0.0.1; default: 55051, 55052, 58080, 59090
#   LOG_DRIVER        default: json-file; podman's is k8s-file
set -euo pipefail
cd "$(dirname "$0")/.."

PROJECT=compactface-test
PHOTOS=tests/data
BIN=${BIN:-.venv/bin}
BASE_IMAGE=${BASE_IMAGE:-python:3.11-slim}
ORIGINAL_MODELS=${MODELS:-deploy/models}
MODELS=$PWD/build/compose-models
ENCODER_PORT=${ENCODER_PORT:-55051}
RECOGNIZER_PORT=${RECOGNIZER_PORT:-55052}
WEB_PORT=${WEB_PORT:-58080}
PROMETHEUS_PORT=${PROMETHEUS_PORT:-59090}
ENCODER_IMAGE=compactface/encoder:test
RECOGNIZER_IMAGE=compactface/recognizer:test
WEB_IMAGE=compactface/web:test
CERTIFICATES=$PWD/build/compose-certificates
FILES=(--file deploy/compose.edge.yaml --file deploy/compose.centre.yaml)
TLS=() # options of the program, once there is TLS
export MODELS ENCODER_PORT RECOGNIZER_PORT WEB_PORT PROMETHEUS_PORT CERTIFICATES
export ENCODER_IMAGE RECOGNIZER_IMAGE WEB_IMAGE
export BIND=127.0.0.1

find_engine() {
    local engine
    for engine in docker podman; do
        if "$engine" info > /dev/null 2>&1; then
            echo "$engine"
            return
        fi
    done
    fail "neither docker nor podman works here"
}

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

build() { # name of the Dockerfile, image
    local started=$SECONDS
    # shellcheck disable=SC2086 # BUILD_ARGS are several words
    "$ENGINE" build ${BUILD_ARGS:-} --build-arg "BASE_IMAGE=$BASE_IMAGE" \
        --file "deploy/$1.Dockerfile" --tag "$2" . > "build/$1.log" 2>&1 \
        || { tail -n 30 "build/$1.log" >&2; fail "$1 cannot be built"; }
    echo "$2: $((SECONDS - started)) s, $(size "$2") MB"
}

size() { echo $(($("$ENGINE" image inspect --format '{{.Size}}' "$1") / 1000000)); }

compose() { $COMPOSE --project-name "$PROJECT" "${FILES[@]}" "$@"; }

up() {
    # Services that are named are started whatever their profile.
    compose up --detach --no-build encoder recognizer web prometheus > build/compose-up.log 2>&1 \
        || { cat build/compose-up.log >&2; fail "compose up"; }
    for service in recognizer encoder web; do
        wait_until 120 "$service healthy" is_healthy "$service"
    done
}

down() {
    compose stop > build/compose-stop.log 2>&1
    for service in encoder recognizer web; do
        status=$("$ENGINE" inspect --format '{{.State.ExitCode}}' "$(container "$service")")
        echo "$service ended with $status"
        [ "$status" -eq 0 ] || fail "$service did not drain"
    done
}

web_health() { # what of curl's options it needs
    curl --silent --fail --noproxy '*' "$@" | grep -q '"recognizer": *"SERVING"'
}

container() { # service
    "$ENGINE" ps --all --quiet --filter "label=com.docker.compose.project=$PROJECT" \
        --filter "label=com.docker.compose.service=$1"
}

is_healthy() { # service
    case $ENGINE in
        # podman leaves healthchecks to systemd's timers, which not every machine has.
        *podman*) "$ENGINE" healthcheck run "$(container "$1")" > /dev/null 2>&1 ;;
        *) "$ENGINE" inspect --format '{{.State.Health.Status}}' "$(container "$1")" \
            | grep -qx healthy ;;
    esac
}

wait_until() { # seconds, what is waited for, command...
    local seconds=$1 what=$2 started=$SECONDS
    shift 2
    until "$@"; do
        [ $((SECONDS - started)) -lt "$seconds" ] || fail "$what: not within $seconds s"
        sleep 1
    done
    echo "$what after $((SECONDS - started)) s"
}

expect() { # photograph, the subject it shows or "" for nobody known
    local seen
    "$BIN/compactface" identify "$PHOTOS/$1" --encoder "127.0.0.1:$ENCODER_PORT" \
        --recognizer "127.0.0.1:$RECOGNIZER_PORT" "${TLS[@]}" --json > build/identified.json
    seen=$("$BIN/python" - <<'PYTHON'
import json

(face,) = json.load(open("build/identified.json"))
if face["decision"] == "IDENTIFY_DECISION_MATCH":
    print(face["candidates"][0]["subject_id"])
PYTHON
    )
    echo "$1: ${seen:-nobody known}"
    [ "$seen" = "$2" ] || fail "$1 shows ${2:-nobody known}"
}

enroll() { # subject, photograph
    "$BIN/compactface" enroll "$1" "$PHOTOS/$2" --encoder "127.0.0.1:$ENCODER_PORT" \
        --recognizer "127.0.0.1:$RECOGNIZER_PORT" "${TLS[@]}"
}

forward() { # photograph
    "$BIN/python" - "127.0.0.1:$ENCODER_PORT" "$PHOTOS/$1" <<'PYTHON'
import sys
from pathlib import Path

from compactface.client import EncoderClient

with EncoderClient(sys.argv[1]) as encoder:
    (face,) = encoder.encode(Path(sys.argv[2]).read_bytes(), forward=True).faces
print(f"forwarded {face.size_bytes} bytes as sighting {face.sighting_id}")
PYTHON
}

write_turned_model() { # name of the version; as the current one, with the same similarities
    "$BIN/python" - "$MODELS" "$1" <<'PYTHON'
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save

from shared.model_directory import ModelDirectory, write_model_directory

models, version = Path(sys.argv[1]), sys.argv[2]
model = ModelDirectory.load(models, "default")
files = {name: (model.path / name).read_bytes() for name in model.manifest.files}
extractor = model.manifest.extractor.file
with safe_open(model.path / extractor, "numpy") as weights:
    metadata = weights.metadata()
    tensors = {name: weights.get_tensor(name) for name in weights.keys()}
# The numbers of an embedding in reverse order: another space, in which all cosines are the same.
tensors |= {name: tensors[name][::-1].copy() for name in tensors if name.startswith("embed.")}
description = model.manifest.model_copy(update={"version": version})
write_model_directory(
    models, description=description, files={**files, extractor: save(tensors, metadata)}
)
PYTHON
}

change_over() { # version that must serve in the end; a face is identified all along
    "$BIN/python" - "127.0.0.1:$ENCODER_PORT" "127.0.0.1:$RECOGNIZER_PORT" \
        "$PHOTOS/barack_obama_congress.jpg" "$1" <<'PYTHON'
import sys
import time
from collections import Counter
from pathlib import Path

from compactface.client import EncoderClient, RecognizerClient

encoder_at, recognizer_at, photograph, version = sys.argv[1:]
with EncoderClient(encoder_at) as encoder, RecognizerClient(recognizer_at) as recognizer:
    (face,) = encoder.encode(Path(photograph).read_bytes()).faces
    before = recognizer.info().model_version
    began, seen = time.monotonic(), Counter()
    while not recognizer.reembed().done:
        if time.monotonic() - began > 120:
            raise SystemExit("not changed over within 120 s")
        seen[recognizer.identify(face.map).candidates[0].subject_id] += 1
    seen[recognizer.identify(face.map).candidates[0].subject_id] += 1
    served = recognizer.info().model_version
print(f"from {before} to {served} in {time.monotonic() - began:.0f} s; meanwhile seen: {dict(seen)}")
if served != version or before == version or set(seen) != {"obama"}:
    raise SystemExit(f"{version} and obama were expected")
PYTHON
}

query() { # PromQL; prints "job value" a line
    "$BIN/python" - "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" "$1" <<'PYTHON'
import json
import sys
import urllib.parse
import urllib.request

address, expression = sys.argv[1:]
with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode({'query': expression})}") as answer:
    for series in json.load(answer)["data"]["result"]:
        print(series["metric"]["job"], series["value"][1])
PYTHON
}

answers() { # PromQL, the lines it must give
    [ "$(query "$1" 2> /dev/null | sort)" = "$2" ]
}

tear_down() {
    local status=$?
    if [ "$status" -ne 0 ]; then
        for service in encoder recognizer web prometheus; do
            say "log of $service"
            "$ENGINE" logs --tail 30 "$(container "$service")" 2>&1 || true
        done
    fi
    compose down --volumes > build/compose-down.log 2>&1 || true
    exit "$status"
}

ENGINE=${ENGINE:-$(find_engine)}
case $ENGINE in
    *podman*)
        COMPOSE=${COMPOSE:-podman-compose}
        export LOG_DRIVER=${LOG_DRIVER:-k8s-file}
        ;;
    *) COMPOSE=${COMPOSE:-docker compose} ;;
esac
mkdir -p build
rm -rf "$MODELS"
cp -r "$ORIGINAL_MODELS" "$MODELS"

say "images by $ENGINE on $BASE_IMAGE"
build encoder "$ENCODER_IMAGE"
build recognizer "$RECOGNIZER_IMAGE"
build web "$WEB_IMAGE"
if [ "${PROMETHEUS_IMAGE:-}" = debian ]; then
    export PROMETHEUS_IMAGE=compactface/prometheus:test
    build prometheus "$PROMETHEUS_IMAGE"
fi
"$ENGINE" run --rm --entrypoint python "$ENCODER_IMAGE" -c '
from importlib.util import find_spec
found = [name for name in ("torch", "faiss", "sqlalchemy") if find_spec(name)]
raise SystemExit(f"in the encoder image: {found}" if found else 0)'
echo "no torch, faiss or sqlalchemy in the encoder image"

say "up"
trap tear_down EXIT
up

say "healthchecks"
for service in encoder:9464 recognizer:9465 web:9466; do
    seconds=$("$ENGINE" exec "$(container "${service%:*}")" python3 -c "
import resource, subprocess
subprocess.run(['python3', '-I', '-S', '/opt/compactface/healthcheck.py',
                'http://localhost:${service#*:}/healthy'], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f'{used.ru_utime + used.ru_stime:.3f}')" | tail -n 1)
    echo "${service%:*}: $seconds CPU-seconds"
    "$BIN/python" -c "raise SystemExit(not $seconds < 0.1)" || fail "healthcheck of $service"
done

say "enroll and identify"
enroll obama barack_obama_portrait_2012.jpg
enroll biden joe_biden_blue_room.jpg
expect barack_obama_portrait_2012.jpg obama
expect barack_obama_congress.jpg obama
expect joe_biden_blue_room.jpg biden
expect eileen_collins_portrait.jpg ""

say "forward from the encoder to the recognizer"
forward barack_obama_blue_room.jpg

say "the gallery outlives the recognizer"
"$ENGINE" restart "$(container recognizer)" > build/compose-restart.log 2>&1
wait_until 120 "recognizer healthy again" is_healthy recognizer
expect barack_obama_congress.jpg obama

say "a model changeover"
write_turned_model turned
"$BIN/compactface" model use turned --models "$MODELS"
change_over turned || fail "the model changeover"
expect joe_biden_blue_room.jpg biden
expect eileen_collins_portrait.jpg ""

say "Prometheus"
TARGETS=$'camera 0\nencoder 1\nrecognizer 1\nweb 1' # there is no camera
wait_until 60 "targets up" answers up "$TARGETS"
wait_until 60 "the forwarded map acknowledged" \
    answers compactface_uplink_acknowledged_total "encoder 1"
query compactface_gallery_faces

say "web gateway"
web_health "http://127.0.0.1:$WEB_PORT/v1/health" || fail "the web gateway does not reach both"

say "the recognizer is killed"
"$ENGINE" kill "$(container recognizer)" > build/compose-kill.log 2>&1
forward barack_obama_congress.jpg
wait_until 180 "the alert fires" answers \
    'sum by (job) (ALERTS{alertname="ServiceDown",alertstate="firing",job="recognizer"})' \
    "recognizer 1"
"$ENGINE" start "$(container recognizer)" > build/compose-start.log 2>&1
wait_until 120 "recognizer healthy again" is_healthy recognizer
wait_until 60 "the map that waited acknowledged" \
    answers compactface_uplink_acknowledged_total "encoder 2"
wait_until 60 "the alert is over" answers 'ALERTS{alertname="ServiceDown",job="recognizer"}' ""

say "graceful stop"
down

say "mutual TLS and tokens"
compose down > build/compose-down.log 2>&1
rm -rf "$CERTIFICATES"
COMPACTFACE="$BIN/compactface" deploy/init.sh "$CERTIFICATES" > build/init.log
FILES+=(--file deploy/compose.edge.mtls.yaml --file deploy/compose.centre.mtls.yaml)
TLS=(--ca "$CERTIFICATES/ca.pem" --certificate "$CERTIFICATES/web.pem"
    --key "$CERTIFICATES/web.key" --token "$(cat "$CERTIFICATES/admin.token")")
up
expect barack_obama_congress.jpg obama
if "$BIN/compactface" identify "$PHOTOS/barack_obama_congress.jpg" "${TLS[@]:0:6}" \
    --encoder "127.0.0.1:$ENCODER_PORT" --recognizer "127.0.0.1:$RECOGNIZER_PORT" \
    > build/refused.log 2>&1; then
    fail "a caller without a token is served"
fi
echo "without a token: $(tail -n 1 build/refused.log)"
wait_until 60 "targets up by https and token" answers up "$TARGETS"
web_health --cacert "$CERTIFICATES/ca.pem" "https://localhost:$WEB_PORT/v1/health" \
    || fail "the web gateway does not reach both"
down

say "passed"
