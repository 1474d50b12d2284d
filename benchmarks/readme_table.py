"""Make the table of results in the README: our weights beside peers, on the same noisy pictures.

    python benchmarks/readme_table.py --data FOLDER                     print it
    python benchmarks/readme_table.py --data FOLDER --write README.md   put it between the file's markers
    python benchmarks/readme_table.py --data FOLDER --gray              gray pictures, beside networks for gray

FOLDER holds ``test/CBSD68``, ``test/Kodak24``, ``peers/*.npz`` with published weights and, for gray pictures,
``test/BSD68`` and ``test/Set12``. What cannot be run is named under the table, never left out in silence.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hush.errors import HushError
from hush.judging.evaluation import evaluate
from hush.judging.results import Report
from hush.restoring.denoising import open_restorer

SETS = {"colour": ("CBSD68", "Kodak24"), "gray": ("BSD68", "Set12")}
PEERS = {
    "colour": ("CDnCNN-B", "cdncnn_b", "FFDNet", "ffdnet_color"),
    "gray": ("DnCNN-B", "dncnn_b", "FFDNet gray", "ffdnet_gray"),
}
SIGMAS = (15, 25, 50)
MARKS = {
    "colour": ("<!-- results: made by benchmarks/readme_table.py -->", "<!-- end of results -->"),
    "gray": ("<!-- gray results: made by benchmarks/readme_table.py --gray -->", "<!-- end of gray results -->"),
}


def candidates(data: Path, kind: str) -> dict[str, str]:
    """Return what is compared, for colour or gray pictures: title and weights."""
    dncnn, dncnn_file, ffdnet, ffdnet_file = PEERS[kind]
    return {
        "noisy input": "identity",
        "non-local means (scikit-image)": "classical:nlm",
        f"{dncnn}, published weights": f"dncnn@{data / 'peers' / dncnn_file}.npz",
        f"{ffdnet}, published weights": f"ffdnet@{data / 'peers' / ffdnet_file}.npz",
        "hush `gaussian-fast`": "gaussian-fast",
        "**hush `gaussian`**": "gaussian",
        "hush `gaussian-large`": "gaussian-large",
    }


def openable(titles: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Part what can be run from a sentence on each that cannot."""
    found, missing = {}, []
    for title, weights in titles.items():
        try:
            open_restorer(weights)
            found[title] = weights
        except HushError as error:
            missing.append(f"Not run: {title} ({type(error).__name__}).")
            print(f"{weights}: {error}", file=sys.stderr)
    return found, missing


def table(report: Report, titles: dict[str, str], sets: Sequence[str], sigmas: Sequence[float]) -> list[str]:
    """Return the table in Markdown: PSNR / SSIM for each data set and sigma, and the time."""
    entries = {(e["weights"], Path(e["data"]).name, e["degradation"]): e for e in report.summary}
    cells = [(name, f"gaussian(sigma={sigma:g})") for name in sets for sigma in sigmas]
    heads = ["PSNR in dB / SSIM", *(f"{name}, {sigma:g}" for name in sets for sigma in sigmas), "s per megapixel"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for title, weights in titles.items():
        row = [entries[weights, *cell] for cell in cells]
        times = sorted(e["seconds_per_megapixel"] for e in row if e["seconds_per_megapixel"] is not None)
        figures = [f"{e['psnr']:.2f} / {e['ssim']:.3f}" for e in row]
        lines.append([title, *figures, f"{times[len(times) // 2]:.2f}" if times and weights != "identity" else "-"])
    return [f"| {' | '.join(line)} |" for line in lines]


def notes(report: Report, titles: dict[str, str]) -> list[str]:
    """Return how it was measured, on what, and how sure the differences are."""
    protocol = report.protocol
    versions = ", ".join(f"{name} {version}" for name, version in protocol["versions"].items())
    machine = protocol["machine"]
    runs = "; ".join(f"{title}: {protocol['restorers'][weights]}" for title, weights in titles.items())
    return [
        " ".join(protocol["words"]),
        f"Measured on {machine['processor']}, {machine['cores']} cores; {versions}. {runs}.",
        *(_difference(d, titles) for d in report.differences if _is_telling(d)),
    ]


def _is_telling(difference: dict[str, Any]) -> bool:
    told = difference["degradation"] == "gaussian(sigma=25)" and difference["weights"] != "identity"
    return told and difference["psnr_interval"] is not None


def _difference(difference: dict[str, Any], titles: dict[str, str]) -> str:
    names = {weights: title for title, weights in titles.items()}
    ours, other, where = names[difference["baseline"]], names[difference["weights"]], Path(difference["data"]).name
    low, high = difference["psnr_interval"]
    return f"{ours} minus {other}, {where} at 25: {-difference['psnr']:+.3f} dB (95 %: {-high:+.3f} to {-low:+.3f})."


def insert(readme: Path, lines: Sequence[str], marks: tuple[str, str]) -> None:
    """Replace what stands between the markers of a file."""
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        sys.exit(f"{readme}: lacks the lines {' and '.join(marks)}; put them where the table belongs")
    readme.write_text("\n".join([before + begin, "", *lines, "", end + after]), encoding="utf-8")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with test/ and peers/")
    parser.add_argument("--gray", action="store_true", help="gray pictures, and networks for them")
    parser.add_argument("--sets", nargs="+", help="folders below FOLDER/test; default: those of the field")
    parser.add_argument("--sigmas", nargs="+", type=float, default=SIGMAS)
    parser.add_argument("--limit", type=int, help="only the first so many pictures of each set, for a trial")
    parser.add_argument("--json", type=Path, help="also write the whole report here")
    parser.add_argument(
        "--write", nargs="+", type=Path, default=[], metavar="FILE", help="put the table between these files' markers"
    )
    options = parser.parse_args()
    kind = "gray" if options.gray else "colour"
    sets = options.sets or SETS[kind]
    titles, missing = openable(candidates(options.data, kind))
    others = [name for name in reversed(titles.values()) if name != "gaussian"]
    report = evaluate(
        ["gaussian", *others],  # differences are to the first
        [str(options.data / "test" / name) for name in sets],
        degradations=[f"gaussian(sigma={sigma:g})" for sigma in options.sigmas],
        limit=options.limit,
        progress=lambda done, total: print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True),
    )
    print(file=sys.stderr)
    report.save(json=options.json)
    rows = table(report, titles, sets, options.sigmas)
    lines = [*rows, "", *(f"- {note}" for note in [*notes(report, titles), *missing])]
    for file in options.write:
        insert(file, lines, MARKS[kind])
    if not options.write:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
