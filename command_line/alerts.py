"""`compactface alerts`: who is told when somebody passes a camera."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.options import Collection, Json, RecognizerOptions, TlsOptions, with_options
from command_line.output import as_json, show_json, show_table
from command_line.paging import pages
from command_line.spans import parse_span

if TYPE_CHECKING:
    from compactface.v1.alerts_pb2 import AlertRule

app = typer.Typer(no_args_is_help=True, help="Be told who passes the cameras.")

_Rule = Annotated[str, typer.Argument(metavar="RULE", help="Id of the rule, as `list` shows it.")]


@app.command()
@with_options
def add(
    *,
    url: Annotated[
        str, typer.Option(help="Webhook to tell: https://, or http:// on the recognizer's machine.")
    ] = "",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="Holds the secret that signs the webhook's events; made if missing."),
    ] = None,
    mqtt: Annotated[
        bool, typer.Option("--mqtt", help="Tell the recognizer's MQTT broker instead.")
    ] = False,
    subject: Annotated[str, typer.Option(help="Ring for this subject.")] = "",
    label: Annotated[str, typer.Option(help="Ring for subjects with this label.")] = "",
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Ring for whoever matches nobody.")
    ] = False,
    camera: Annotated[str, typer.Option(help="Only at this camera.")] = "",
    quiet: Annotated[
        str,
        typer.Option(
            metavar="SPAN", help="For so long do not ring again for a person, e.g. 30s, 10m, 8h."
        ),
    ] = "10m",
    collection: Collection = "default",
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Add a rule: whom to tell of whom."""
    if bool(url) == mqtt or bool(url) != bool(secret_file):
        raise typer.BadParameter("give --url with --secret-file, or --mqtt")
    if sum((bool(subject), bool(label), unknown)) != 1:
        raise typer.BadParameter("give one of --subject, --label and --unknown")
    quiet_time = _span(quiet)
    secret = _secret(secret_file) if secret_file else ""
    with recognizer.connect(tls) as client:
        rule = client.alerts.create(
            url=url,
            secret=secret,
            mqtt=mqtt,
            subject_id=subject,
            label=label,
            any_unknown=unknown,
            camera=camera,
            quiet_time=quiet_time,
            collection=collection,
        ).rule
    if to_json:
        show_json(as_json(rule))
    else:
        typer.echo(f"added rule {rule.rule_id}")


@app.command("list")
@with_options
def list_(
    *,
    collection: Collection = "default",
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """List the rules, oldest first, and how many events wait for each."""
    with recognizer.connect(tls) as client:
        listing = pages(client.alerts.list, collection=collection)
        rules = [rule for page in listing for rule in page.rules]
    if to_json:
        show_json([as_json(rule) for rule in rules])
        return
    rows = [
        [
            rule.rule_id,
            _whom_text(rule),
            rule.camera_id or "any",
            str(rule.quiet_time.ToTimedelta()),
            rule.webhook.url or "MQTT",
            str(rule.waiting),
        ]
        for rule in rules
    ]
    show_table(["rule", "rings for", "camera", ">quiet", "tells", ">waiting"], rows)


@app.command()
@with_options
def remove(
    rule: _Rule,
    *,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete a rule with its secret and all that waits."""
    with recognizer.connect(tls) as client:
        client.alerts.delete(rule, collection=collection)
    typer.echo(f"removed rule {rule}")


@app.command("test")
@with_options
def try_out(
    rule: _Rule,
    *,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Send the target of a rule a test, and say what it answered; exit code 1 if it failed."""
    with recognizer.connect(tls) as client:
        answer = client.alerts.test(rule, collection=collection)
    typer.echo(f"{'delivered' if answer.delivered else 'not delivered'}: {answer.outcome}")
    if not answer.delivered:
        raise typer.Exit(1)


def _secret(file: Path) -> str:
    """The secret in a file, or a new one, for its owner's eyes only."""
    from compactface.client.alerts import new_secret
    from shared.private_files import private_file

    if file.exists():
        return file.read_text().strip()
    secret = new_secret()
    with private_file(file) as opened:
        opened.write(f"{secret}\n".encode())
    typer.echo(f"wrote a new secret to {file}", err=True)
    return secret


def _span(text: str) -> timedelta:
    span = parse_span(text)
    if span is None:
        raise typer.BadParameter(f"--quiet is {text!r}; it must be a span, e.g. 30s, 10m, 8h, 2d")
    return span


def _whom_text(rule: "AlertRule") -> str:
    match rule.WhichOneof("whom"):
        case "subject_id":
            return f"subject {rule.subject_id}"
        case "label":
            return f"label {rule.label}"
    return "the unknown"
