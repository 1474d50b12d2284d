"""A study's report: one HTML page, a JSON file, and its tables in Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hush.imaging.pages import Page
from hush.imaging.writing import write_text
from hush.judging.findings import Findings, protocol_words
from hush.judging.results import Row
from hush.learning.runs import read_log

TITLES = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "ssim_uniform": "SSIM, uniform",
    "sharpness": "sharpness",
    "lpips": "LPIPS (AlexNet)",
    "lpips_vgg16": "LPIPS (VGG16)",
    "accuracy": "accuracy",
    "cross_entropy": "cross-entropy, nats",
}
UNITS = {"psnr": "dB"}
BEGIN, END = "<!-- tables: made by hush study -->", "<!-- end of tables -->"


@dataclass(frozen=True)
class Table:
    """A table as text, for page, terminal and Markdown alike."""

    title: str
    headers: list[str]
    rows: list[list[str]]


def save_report(findings: Findings, out: str | Path, *, command: str = "", tables: str | Path | None = None) -> Path:
    """Write NAME.html, NAME.json and NAME.md into a folder, and return the path of the page.

    Args:
        findings: of the study.
        out: the folder.
        command: what was typed, to be shown.
        tables: another folder that gets NAME.json and NAME.md too, such as one of a documentation.

    Raises HushError if the page cannot be written.
    """
    name = findings.study.name
    for folder in (Path(place) for place in (out, tables) if place is not None):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{name}.json", findings.to_json() + "\n")
        write_text(folder / f"{name}.md", _markdown(findings, command, folder / f"{name}.md"))
    return make_page(findings, command).save(Path(out) / f"{name}.html")


def make_page(findings: Findings, command: str = "") -> Page:
    """Return the report as a page."""
    study = findings.study
    page = Page(study.title or study.name, quality=90).text(study.summary)
    if findings.warnings:
        page.warning(*findings.warnings)
    runs = len({found.folder for found in findings.runs})
    page.facts({"trainings": len(study.trainings), "runs": runs, "setting": study.setting, "hours": findings.hours})
    if command:
        page.code(command)
    for table in (*result_tables(findings), *difference_tables(findings)):
        page.heading(table.title).table(table.headers, table.rows)
    _add_bars(page, findings)
    _add_samples(page, findings)
    _add_loss_maps(page, findings)
    page.heading("Protocol").text("\n\n".join([*protocol_words(study), *facts(findings)]))
    return page


def result_tables(findings: Findings) -> list[Table]:
    """Return a table per evaluation, of restorers and of classifiers: our figures beside the origin's."""
    tables = []
    for evaluation in findings.study.evaluations.values():
        entries = [entry for entry in findings.summary if entry["evaluation"] == evaluation.name]
        for restorers in (True, False):
            group = [entry for entry in entries if ("accuracy" not in entry) is restorers]
            if group:
                kind = "" if restorers else ": classifiers"
                title = f"{evaluation.about or evaluation.name}, {group[0]['n']} pictures{kind}"
                tables.append(_result_table(title, group, _shown(findings, group)))
    return tables


def difference_tables(findings: Findings) -> list[Table]:
    """Return a table of the paired differences per evaluation."""
    tables = []
    for name in dict.fromkeys(entry["evaluation"] for entry in findings.differences):
        group = [entry for entry in findings.differences if entry["evaluation"] == name]
        metrics = _shown(findings, group)
        several = any(len(entry.get(f"{metrics[0]}_seeds", ())) > 1 for entry in group)
        headers = [
            "training",
            "minus",
            *(f"{_title(m)} [95 %]" for m in metrics),
            *(["single seeds"] if several else []),
        ]
        rows = [
            [entry["training"], entry["minus"], *(_with_interval(entry, metric, "+") for metric in metrics)]
            + ([_list_seeds(entry, metrics[0])] if several else [])
            for entry in group
        ]
        about = findings.study.evaluations[name].about or name
        tables.append(Table(f"Differences, picture by picture: {about}", headers, rows))
    return tables


def facts(findings: Findings) -> list[str]:
    """Return in sentences where the origin's figures come from, what ran here and how long it took."""
    study, training = findings.study, findings.cards[0]["training"]
    commit = f", commit {training['commit']}" if training.get("commit") else ""
    sentences = [f"The origin's figures: {study.source}"] if study.source else []
    return [
        *sentences,
        f"Setting {study.setting}: {len(findings.runs)} trainings, {findings.hours:.2f} hours together, on "
        f"{training['hardware']}; hush {training['hush']}{commit}, torch {training['torch']}.",
    ]


def _title(metric: str) -> str:
    return TITLES.get(metric, metric)


def _shown(findings: Findings, entries: list[Row]) -> list[str]:
    """Return the metrics of a table: those that have a title in its order, then further ones of the study."""
    names = (*TITLES, *findings.study.metrics)
    return [name for name in dict.fromkeys(names) if any(name in entry for entry in entries)]


def _result_table(title: str, entries: list[Row], metrics: list[str]) -> Table:
    compared = [m for m in metrics if any(m in entry["origin"] for entry in entries)]
    sized = any("parameters" in entry["origin"] for entry in entries)
    headers = ["training", "kMAC/px", "parameters", *(["origin's"] if sized else [])]
    for metric in metrics:
        headers += [f"{_title(metric)} [95 %]", *(["origin's"] if metric in compared else [])]
        headers += ["gain over input, dB [95 %]"] if metric == "psnr" else []
    rows = [[entry["training"], *_cells(entry, metrics, compared, sized)] for entry in entries]
    several = any(len(entry.get(f"{metrics[0]}_seeds", ())) > 1 for entry in entries)
    if several:
        headers.append(f"{_title(metrics[0])}, single seeds")
        rows = [[*row, _list_seeds(entry, metrics[0], "")] for row, entry in zip(rows, entries, strict=True)]
    if f"{metrics[0]}_input" in entries[0]:
        given = {m: entries[0][f"{m}_input"] for m in metrics}
        empty: Row = {"parameters": None, "kmacs": None, "origin": {}, "reached": {}, **given}
        rows.insert(0, ["noisy input", *_cells(empty, metrics, compared, sized), *(["–"] if several else [])])
    return Table(title, headers, rows)


def _cells(entry: Row, metrics: list[str], compared: list[str], sized: bool) -> list[str]:
    fixed = f" + {entry['fixed']:,}" if entry.get("fixed") else ""
    cells = ["–" if entry["kmacs"] is None else f"{entry['kmacs']:.1f}"]
    cells.append("–" if entry["parameters"] is None else f"{entry['parameters']:,}{fixed}")
    if sized:
        cells.append(_origin(entry, "parameters"))
    for metric in metrics:
        cells.append(_with_interval(entry, metric))
        if metric in compared:
            cells.append(_origin(entry, metric))
        if metric == "psnr":
            cells.append(_with_interval(entry, "gain", "+"))
    return cells


def _origin(entry: Row, name: str) -> str:
    """Return the origin's figure, marked where ours falls short of it."""
    if name not in entry["origin"]:
        return "–"
    value = entry["origin"][name]
    written = f"{value:,}" if name == "parameters" else _number(value, name)
    return written if entry["reached"][name] else f"{written} (missed)"


def _with_interval(entry: Row, metric: str, sign: str = "") -> str:
    if metric not in entry:
        return "–"
    interval = entry.get(f"{metric}_interval")
    ends = "" if interval is None else " [" + ", ".join(_number(end, metric, sign) for end in interval) + "]"
    counted = entry.get(f"{metric}_n", entry.get("n"))  # of a difference: where one figure is infinite it is left out
    left_out = "" if counted == entry.get("n") else f" ({counted} of {entry['n']})"
    return _number(entry[metric], metric, sign) + ends + left_out


def _list_seeds(entry: Row, metric: str, sign: str = "+") -> str:
    return ", ".join(_number(value, metric, sign) for value in entry.get(f"{metric}_seeds", ()))


def _number(value: float, metric: str, sign: str = "") -> str:
    decimals = {"psnr": 3 if sign else 2, "gain": 2}.get(metric, 4)
    return f"{value:{sign}.{decimals}f}"


def _add_bars(page: Page, findings: Findings) -> None:
    """Draw a bar per training, the origin's beside it, and the input's."""
    for metric in ("psnr", "ssim", "sharpness", "lpips", "lpips_vgg16", "accuracy"):
        for evaluation in findings.study.evaluations.values():
            entries = [e for e in findings.summary if e["evaluation"] == evaluation.name and metric in e]
            bars = {entry["training"]: _bars_of(entry, metric) for entry in entries}
            if entries and f"{metric}_input" in entries[0]:
                bars = {"noisy input": {"ours": entries[0][f"{metric}_input"]}, **bars}
            if bars:
                caption = f"{TITLES[metric]}: {evaluation.about or evaluation.name}"
                page.bar_chart(bars, caption=caption, unit=UNITS.get(metric, ""))


def _bars_of(entry: Row, metric: str) -> Mapping[str, float]:
    origin = {"origin": entry["origin"][metric]} if metric in entry["origin"] else {}
    return {"ours": entry[metric], **origin}


def _add_samples(page: Page, findings: Findings) -> None:
    """Show noisy, restored and clean pictures, a row per picture."""
    for evaluation in findings.study.evaluations.values():
        shown = {
            name: found[0].judged[evaluation.name].samples
            for name in findings.study.trainings
            if (found := findings.of(name)) and evaluation.name in found[0].judged
        }
        shown = {name: samples for name, samples in shown.items() if samples}
        if not shown:
            continue
        first = next(iter(shown.values()))
        columns = {"noisy": first["noisy"], **{n: s["restored"] for n, s in shown.items()}, "clean": first["clean"]}
        page.heading(f"Pictures: {evaluation.about or evaluation.name}")
        for i in range(len(first["clean"])):
            page.grid([column[i] for column in columns.values()], list(columns), columns=min(len(columns), 6))


def _add_loss_maps(page: Page, findings: Findings) -> None:
    """Draw each term of the losses, and each validation figure, over the steps: a line per training."""
    lines: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for name in findings.study.trainings:
        for entry in read_log(findings.of(name)[0].folder):
            for group, values in (("loss", entry["losses"]), ("validation", entry.get("validation", {}))):
                for term, value in values.items():
                    steps, figures = lines.setdefault(f"{group}: {term}", {}).setdefault(name, ([], []))
                    steps.append(entry["step"])
                    figures.append(value)
    page.heading("Loss maps")
    for title, series in lines.items():
        if title != "validation: psnr_input":
            loss = title.startswith("loss") and all(value > 0 for _, values in series.values() for value in values)
            page.line_plot(series, caption=title, x="step", log_y=loss)


def _markdown(findings: Findings, command: str, path: Path) -> str:
    """Return the tables in Markdown, between markers; what stands around them in the file is kept."""
    study = findings.study
    parts = [f"```console\n$ {command}\n```"] if command else []
    parts += [f"**WARNING** {warning}" for warning in findings.warnings]
    for table in (*result_tables(findings), *difference_tables(findings)):
        ruler = ["---", *("---:" for _ in table.headers[1:])]
        lines = [f"| {' | '.join(row)} |" for row in (table.headers, ruler, *table.rows)]
        parts.append(f"### {table.title}\n\n" + "\n".join(lines))
    parts.append("\n".join(f"- {sentence}" for sentence in (*protocol_words(study), *facts(findings))))
    made = f"{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}"
    around = (
        path.read_text(encoding="utf-8") if path.exists() else f"# {study.title}\n\n{study.summary}\n\n{BEGIN}{END}\n"
    )
    before, _, rest = around.partition(BEGIN)
    return before + made + rest.partition(END)[2]
