"""`store`: maintain the stored rows, import published figures, export rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from pydantic import ValidationError

from benchmark.cli.results import as_csv_text, as_json_text
from benchmark.config.folder import file_of, load_object, options
from benchmark.errors import ConfigError
from benchmark.formatting import counted
from benchmark.paths import write_whole
from benchmark.published.documents import Document, Importer, Reading, read, rows
from benchmark.redaction import without_secrets
from benchmark.report.sanitize import say
from benchmark.store import query, to_mlflow
from benchmark.store import scrub as scrubbed
from benchmark.store.repair import Flaw
from benchmark.store.results import DEFAULT_ROOT, ResultsStore, to_frame
from benchmark.store.sync import sync

app = typer.Typer(help="Maintain, import and export stored rows.", no_args_is_help=True)

_REJECTED: Final = 2
"""Exit code if a line or a whole document became no row."""
_NEEDS_MAPPING: Final = "tidy"
"""The format that can't be detected: the user says which header is which column."""
_MLFLOW: Final = "mlflow"
_STORE = Annotated[str, typer.Option(help="Folder or URL that holds the rows.")]
_WHAT = "Names of shipped documents, YAMLs like those in conf/published, or files of results."
_FORMAT = (
    "Format of the files: name of a YAML in conf/importer, or path of your own. Default: by the content."
)


@app.callback()
def store() -> None:
    """Maintain, import and export stored rows."""


@app.command()
def compact(
    store: _STORE = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Merge the files of single runs into one, which is smaller and faster to read; also during runs."""
    merged = ResultsStore(store).compact()
    if as_json:
        say(json.dumps({"store": store, "merged_files": merged}))
    elif merged:
        say(f"merged {counted(merged, 'file')} at {store}")
    else:
        say(f"nothing to merge at {store}")


@app.command(name="sync")
def sync_(
    first: Annotated[str, typer.Argument(metavar="A", help="Folder or bucket of rows.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy rows both ways, with answers, loads and nightly findings; a second time copies nothing.

    Of two attempts of a run the one that finished later counts. Nothing is removed.
    """
    done = sync(ResultsStore(first), ResultsStore(second))
    first, second = without_secrets(first), without_secrets(second)
    if as_json:
        say(json.dumps({"stores": [first, second], "copied": [*done]}))
    else:
        say(
            f"copied {counted(done.to_second, 'row')} to {second}, {counted(done.to_first, 'row')} to {first}"
        )


@app.command()
def scrub(
    store: _STORE = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hide passwords, keys and tokens in stored rows; new rows never hold any. Ids and figures stay.

    Logs and snapshots of older runs in outputs/ are not changed.
    """
    done = scrubbed.scrub(ResultsStore(store))
    if as_json:
        say(json.dumps({"store": store, "hidden_values": done.values, "rewritten_files": done.files}))
    elif done.values:
        hid = f"hid {counted(done.values, 'value')} in {counted(done.files, 'file')} at {store}"
        say(f"{hid}: change these passwords and keys, for copies of the store may exist")
    else:
        say(f"no secret at {store}")


@app.command()
def verify(
    store: _STORE = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every byte of every file; exit code 2 if one is damaged or isn't of this program."""
    found = ResultsStore(store).flaws()
    if as_json:
        say(json.dumps({"store": store, "flaws": [_as_json(flaw) for flaw in found]}, indent=1))
    else:
        for flaw in found:
            say(f"{flaw.name}: {flaw.reason}{_held(flaw)}")
        say(
            f"`store repair` sets {'it' if len(found) == 1 else 'them'} aside, and says what is lost"
            if found
            else f"every file at {store} is as it was written"
        )
    if found:
        raise typer.Exit(_REJECTED)


@app.command()
def repair(
    store: _STORE = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Set damaged and foreign files aside, and say which runs have lost their row; exit code 2 then.

    Rows of a damaged file that are known to be intact go into a new one. The
    cells of lost rows are missing: the same command measures them again.
    """
    done = ResultsStore(store).repair()
    lost = sum(len(one.lost) for one in done)
    unknown = any(one.flaw.unnamed != 0 for one in done)
    if as_json:
        made = [
            {**_as_json(one.flaw), "aside": str(one.aside), "lost": one.lost, "older": one.older}
            for one in done
        ]
        say(json.dumps({"store": store, "repaired": made}, indent=1))
    else:
        lines = list[str]()
        for one in done:
            lines += [f"{one.flaw.name}: {one.flaw.reason}{_held(one.flaw)}", f"  is now {one.aside}"]
            lines += [f"  lost: run {run}" for run in one.lost]
            lines += [f"  run {run} counts with another row of its" for run in one.older]
        more = " and those that can't be read" if unknown else ""
        say("\n".join([*lines, f"{counted(len(done), 'file')} set aside; lost rows: {lost}{more}"]))
    if lost or unknown:
        raise typer.Exit(_REJECTED)


def _as_json(flaw: Flaw) -> dict[str, Any]:
    return {
        "file": flaw.name,
        "reason": flaw.reason,
        "run_ids": flaw.run_ids,
        "unreadable_rows": flaw.unnamed,
    }


def _held(flaw: Flaw) -> str:
    """What a file holds, in words."""
    if flaw.unnamed is None:
        return "; its rows can't be counted"
    rows = len(flaw.run_ids) + flaw.unnamed
    return f"; it holds {counted(rows, 'row')}" if rows else ""


@app.command("import")
def import_(  # noqa: PLR0913, PLR0917 - a command line has that many
    what: Annotated[list[str] | None, typer.Argument(metavar="NAME|FILE…", help=_WHAT)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Import every shipped document.")] = False,
    format_: Annotated[str, typer.Option("--format", metavar="NAME|YAML", help=_FORMAT)] = "",
    document: Annotated[str, typer.Option(help="How to cite the files. Default: their paths.")] = "",
    commit: Annotated[str, typer.Option(help="Commit of the files.")] = "",
    date: Annotated[str, typer.Option(help="Their date, YYYY-MM-DD. Default: last change.")] = "",
    licence: Annotated[str, typer.Option(help="Their licence.")] = "",
    store: _STORE = DEFAULT_ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Store published results as rows with source=published. Without names: list the shipped documents.

    Importing again gives the same rows. Lines that can't become a row are
    printed; the exit code is then 2, likewise if a file gives no row.
    """
    if not what and not everything:
        _list(as_json=as_json)
        return
    about = {"document": document, "commit": commit, "date": date, "licence": licence}
    given = {name: text for name, text in about.items() if text}
    names = [*(options("published") if everything else ()), *(what or ())]
    documents = [one for name in names for one in _documents(name, format_, given)]
    target, readings = ResultsStore(store), []
    target.prepare()
    for one in documents:
        reading = read(one)
        if made := rows(one, reading.figures, datetime.now(timezone.utc)):
            target.append(*made)
        readings.append((one, reading))
    _print_readings(readings, store, as_json=as_json)
    if any(reading.rejected or not reading.figures for _, reading in readings):
        raise typer.Exit(_REJECTED)


@app.command(name="export")
def export_(
    file: Annotated[
        str, typer.Argument(metavar="FILE.(csv|json|parquet)|mlflow", help="File to write, or `mlflow`.")
    ],
    condition: Annotated[list[str] | None, typer.Argument(help="Conditions, as for `results`.")] = None,
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow's server. Default: MLFLOW_TRACKING_URI.", show_default=False)
    ] = "",
    experiment: Annotated[str, typer.Option(help="MLflow's experiment.")] = "benchmark",
    store: _STORE = DEFAULT_ROOT,
) -> None:
    """Write rows with every column to a file or to MLflow, simulated and published rows too.

    Parquet keeps types; CSV holds lists and maps as JSON. In MLflow each row is
    a run; a second export adds what is new. Conditions select rows: source=null
    leaves out published ones.
    """
    target = Path(file)
    if file != _MLFLOW and target.suffix not in {".csv", ".json", ".parquet"}:
        raise ConfigError(f"{file}: the name must end in .csv, .json or .parquet, or be {_MLFLOW}")
    selected = query.expression(query.parse(" ".join(condition or ())))
    table = ResultsStore(store).table(None, selected)
    if file == _MLFLOW:
        done = to_mlflow.export(table, experiment, tracking_uri or None)
        say(
            f"wrote {counted(len(table) - done.known, 'row')} to MLflow's experiment {experiment}: "
            f"{done.new} new, {done.replaced} measured again; {done.known} were there"
        )
        return
    data = _serialised(table, target.suffix)
    try:
        write_whole(target, data)
    except OSError as error:
        raise ConfigError(f"can't write {file}: {error.strerror}: choose another file") from error
    say(f"wrote {counted(len(table), 'row')} to {file}")


def _serialised(table: pa.Table, suffix: str) -> bytes:
    if suffix == ".parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())
    frame = to_frame(table)
    return (as_json_text(frame) if suffix == ".json" else as_csv_text(frame)).encode()


def _documents(name: str, format_: str, given: dict[str, Any]) -> Iterator[Document]:
    """Documents that a name or a file stands for.

    Raises:
        ConfigError: there is no such document or file, or its format is unknown.
    """
    shipped = file_of("published", name)
    path = Path(name)
    if shipped.is_file() or (path.suffix == ".yaml" and path.is_file()):
        if given or format_:
            raise ConfigError(
                f"{name} describes its files itself: --format, --document, … are only for files of results"
            )
        yield load_object(shipped if shipped.is_file() else path, Document)
        return
    if not path.is_file():
        names = ", ".join(options("published"))
        raise ConfigError(f"{name} is neither a file nor a shipped document: {names}")
    changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).date().isoformat()
    usual = {"name": path.stem, "document": name, "date": changed, "importer": _importer(path, format_)}
    try:
        yield Document(files=(str(path.resolve()),), **{**usual, **given})
    except ValidationError as error:
        raise ConfigError(f"--{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error


def _importer(file: Path, format_: str) -> Importer:
    """Importer of the requested format, or the only one that can read the file."""
    if format_:
        own = Path(format_)
        chosen = own if own.suffix == ".yaml" and own.is_file() else file_of("importer", format_)
        if not chosen.is_file():
            known = ", ".join(options("importer"))
            raise ConfigError(f"--format {format_} is neither a YAML file nor one of {known}")
        return load_object(chosen, Importer)  # type: ignore[type-abstract]  # a protocol
    names = [name for name in options("importer") if name != _NEEDS_MAPPING]
    readable = {name: importer for name in names if (importer := _reader(name, file))}
    if not readable:
        raise ConfigError(
            f"{file} has no known format: name it with --format; conf/importer/tidy.yaml shows how"
        )
    if len(readable) > 1:
        raise ConfigError(f"{file} can be read as {' and as '.join(readable)}: choose one with --format")
    return next(iter(readable.values()))


def _reader(name: str, file: Path) -> Importer | None:
    """The importer of this name, if the file has its format."""
    importer = load_object(file_of("importer", name), Importer)  # type: ignore[type-abstract]
    try:
        importer.read(file)
    except ConfigError:
        return None
    return importer


def _list(*, as_json: bool) -> None:
    """Print the shipped documents, and how many rows each gives."""
    made = [load_object(file_of("published", name), Document) for name in options("published")]
    listed: list[dict[str, Any]] = [
        {
            "name": one.name,
            "document": one.document,
            "commit": one.commit,
            "date": one.date,
            "licence": one.licence,
            "rows": len(read(one).figures),
        }
        for one in made
    ]
    if as_json:
        say(json.dumps(listed, indent=1))
        return
    for one in listed:
        known = ", ".join(str(one[name])[:10] for name in ("date", "commit") if one[name])
        say(f"{one['name']}: {counted(one['rows'], 'row')}, {known}, {one['licence']}\n    {one['document']}")
    say("Import them by name, or all with --all.")


def _print_readings(readings: Sequence[tuple[Document, Reading]], store: str, *, as_json: bool) -> None:
    if as_json:
        documents = [
            {
                "name": one.name,
                "lines": reading.lines,
                "rows": len(reading.figures),
                "repeated": reading.repeated,
                "corrections": list(reading.corrections),
                "rejected": [[line.file, line.line, line.reason] for line in reading.rejected],
            }
            for one, reading in readings
        ]
        say(json.dumps({"store": store, "documents": documents}, indent=1))
        return
    for one, reading in readings:
        again = f", {reading.repeated} of them repeated" if reading.repeated else ""
        rejected = f", {len(reading.rejected)} rejected" if reading.rejected else ""
        made, lines = counted(len(reading.figures), "row"), counted(reading.lines, "line")
        say(f"{one.name}: {made} of {lines}{again}{rejected}")
        if not reading.figures:
            say("  no row: correct the file, or choose its format with --format")
        for correction in reading.corrections:
            say(f"  corrected: {correction}")
        for line in reading.rejected:
            say(f"  rejected: {line.file} line {line.line}: {line.reason}")
    if any(reading.figures for _, reading in readings):
        say(f"stored at {store}; `results source=published` shows them")
