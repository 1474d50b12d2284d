"""What a search tried: a table of its trials, and a page that shows how each key bears on the figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hush.imaging.pages import Page
from hush.judging.report import TITLES, Table
from hush.judging.search import Search, Span, Trial, best_trial, short


def trial_table(search: Search, trials: Sequence[Trial]) -> Table:
    """Return the trials, the best first; what was ended early, or failed, stands below."""
    order = sorted(trials, key=lambda t: (t.state == "finished", t.figure or float("-inf")), reverse=True)
    headers = ["trial", TITLES[search.figure], "steps", "state", *search.space]
    rows = [
        [
            str(trial.number),
            "–" if trial.figure is None else f"{trial.figure:.3f}",
            str(max(trial.curve, default=0)),
            trial.state,
            *(short(trial.values.get(key)) for key in search.space),
        ]
        for trial in order
    ]
    return Table(f"{len(trials)} trials", headers, rows)


def save_trials(search: Search, trials: Sequence[Trial], out: str | Path, *, note: str = "") -> Path:
    """Write NAME.html into a folder, and return its path. Raises HushError if it cannot be written."""
    return make_trials_page(search, trials, note).save(Path(out) / f"{search.name}.html")


def make_trials_page(search: Search, trials: Sequence[Trial], note: str = "") -> Page:
    """Return the report as a page; ``note`` is what the search had to say of its data."""
    page = Page(search.title or search.name).text(search.summary)
    best = best_trial(trials)
    figure = TITLES[search.figure]
    if best is not None and best.warning:
        page.warning(f"The best trial: {best.warning}")
    facts = {"trials": len(trials), "ended early": sum(trial.state == "ended early" for trial in trials)}
    page.facts({**facts, **({f"best {figure}": best.figure} if best else {}), "setting": search.setting})
    table = trial_table(search, trials)
    page.heading(table.title).table(table.headers, table.rows)
    curves = {f"trial {t.number}": (list(t.curve), list(t.curve.values())) for t in trials if t.curve}
    if curves:
        page.heading("Validations").line_plot(curves, x="step", y=figure)
    judged = [trial for trial in trials if trial.figure is not None]
    for key, space in search.space.items():
        if isinstance(space, Span):
            points = {f"{t.number}": (float(t.values[key]), t.figure or 0.0) for t in judged}
            page.scatter_plot(points, caption=key, x=key, y=figure, log_x=space.log)
        else:
            highest = {
                short(choice): max((t.figure or 0.0 for t in judged if t.values[key] == choice), default=None)
                for choice in space
            }
            rows = [[choice, value] for choice, value in highest.items()]
            page.table([key, f"highest {figure}"], rows, best={f"highest {figure}": "high"})
    words = "Compared is the last validation of each trial; those that were ended early had fewer steps."
    words += f"\n\nNote: {note}." if note else ""
    return page.text(words)
