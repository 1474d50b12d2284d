"""Make the table of what five small projects reached, from which hush grew, beside what it reaches now.

    python benchmarks/origins_table.py                             print it
    python benchmarks/origins_table.py --write docs/studies.md     between a page's markers

Figures are those of the studies' JSON under docs/studies (`hush study NAME --tables docs/studies`). A row is a
training for which the origin gives a figure, under noise that was not clipped; of several seeds it is the mean.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hush.judging.markdown import fill, table

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
HEADS = ["study: training", "noise", "parameters", "origin's", "PSNR in dB / SSIM, or accuracy", "origin's"]
FORMS = {"psnr": "{:.2f}", "ssim": "{:.3f}", "accuracy": "{:.3f}"}


def rows(study: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the rows of one study."""
    for row in study["summary"]:
        evaluation = study["evaluations"][row["evaluation"]]
        origin = row.get("origin") or {}
        told = [name for name in FORMS if name in origin]
        if evaluation["clip"] or not told:
            continue
        parameters = [f"{source['parameters']:,}" if "parameters" in source else "" for source in (row, origin)]
        figures = [_figures(source, told) for source in (row, origin)]
        noise = evaluation["about"][:1].lower() + evaluation["about"][1:]
        yield [f"{study['study']}: {row['training']}", noise, *parameters, *figures]


def _figures(source: dict[str, Any], names: list[str]) -> str:
    """Return figures, and those of the noisy input where they are known."""
    ours, given = (
        " / ".join(FORMS[name].format(source[name + suffix]) for name in names if name + suffix in source)
        for suffix in ("", "_input")
    )
    return f"{ours} from {given}" if given else ours


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=Path, default=STUDIES, help="folder of the studies' JSON")
    parser.add_argument("--write", nargs="+", type=Path, default=[], metavar="FILE")
    options = parser.parse_args()
    studies = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.studies.glob("*.json"))]
    lines = table(HEADS, [row for study in studies for row in rows(study)])
    print("\n".join(lines))
    for page in options.write:
        fill(page, "origins", {"table": lines})


if __name__ == "__main__":
    main()
