#!/usr/bin/env bash
# Makes what TLS and roles need, in a folder for CERTIFICATES of compose.*.mtls.yaml:
#
#   ca.pem, ca.key     an authority; keep ca.key elsewhere once all certificates are issued
#   NAME.pem, NAME.key certificates of encoder, recognizer, web and camera, for servers and clients
#   access.toml        roles: the encoder streams, the camera encodes; tokens of `admin` and `metrics`
#   admin.token        a token for the console and the command line
#   metrics.token      Prometheus's token
#
#   deploy/init.sh FOLDER [HOST...]
#
# HOST are further names of this machine for its certificates. What is there already stays. COMPACTFACE
# is the program, by default `compactface`; OWNER, by default 10001, the user of the containers.
set -euo pipefail

folder=${1:?folder of the certificates}
shift
program=${COMPACTFACE:-compactface}
hosts=()
for host in localhost 127.0.0.1 "$@"; do hosts+=(--host "$host"); done

mkdir -p "$folder"
[ -e "$folder/ca.pem" ] || $program certs authority --out "$folder"
for name in encoder recognizer web camera; do
    [ -e "$folder/$name.pem" ] || \
        $program certs issue "$name" --host "$name" "${hosts[@]}" --out "$folder"
done
if [ ! -e "$folder/access.toml" ]; then
    cat > "$folder/access.toml" <<'TOML'
[roles.uplink]
scopes = ["stream"]
collections = ["*"]

[roles.camera]
scopes = ["encode"]
collections = ["*"]

[certificates]
encoder = "uplink"
camera = "camera"
TOML
    $program token create admin --access "$folder/access.toml" --role admin \
        --scope admin --scope watch --scope reconstruct > "$folder/admin.token"
    $program token create prometheus --access "$folder/access.toml" --role metrics \
        --scope metrics > "$folder/metrics.token"
fi
chmod 600 "$folder/admin.token"
# Prometheus has a user of its own. The token shows counters, nothing else.
chmod 711 "$folder"
chmod 644 "$folder/ca.pem" "$folder/metrics.token"
[ "$(id -u)" != 0 ] || chown -R "${OWNER:-10001}" "$folder"
