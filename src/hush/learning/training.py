"""The training loop: `train` yields its progress, so one loop serves terminal, page, cluster and tests."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hush.errors import HushError, RecipeError, TrainingError
from hush.learning.checking import (
    check_labels,
    check_length,
    check_parts,
    check_told,
    note_idle_keys,
    note_known_pictures,
    note_noise_on_pairs,
)
from hush.learning.checkpoints import load_numbers, load_state, save_state
from hush.learning.config import Recipe, changed_keys, to_dict
from hush.learning.datasets import Batch, DataSet, name_some, open_dataset, split
from hush.learning.exporting import check_export
from hush.learning.methods import open_method, restores
from hush.learning.patches import Ahead, Patches
from hush.learning.processes import Processes
from hush.learning.provenance import describe
from hush.learning.runs import Run, check_resumable, read_run_recipe
from hush.learning.updating import NotFinite, check_finite
from hush.learning.validation import Accuracy, Validation, as_image, falls_short, judged_noise, read_held_out
from hush.restoring.weights import Card

REPORT_SECONDS = 2.0  # a report at least so often, and at each validation
SAVE_SECONDS = 120.0  # a kill costs at most so much work
FORMS = {"psnr": "PSNR {:.2f} dB", "ssim": "SSIM {:.4f}", "accuracy": "accuracy {:.1%}"}
LOOKED_AT = 8  # patches in data.png
FIXED = ("network", "method", "optimiser.name")  # keys of a recipe that decide what a checkpoint holds
FREE = ("summary", "licence", "length.", "validate_every", "data.about", "data.cache")
"""Keys, or beginnings of such, that change nothing of what is learnt at a step."""


@dataclass(frozen=True)
class Progress:
    """What a training reports."""

    step: int
    share: float
    """How much of the training is done, in [0, 1]."""
    elapsed: float
    """Seconds of training, over all sessions of a resumed run."""
    remaining: float
    """Seconds left, as far as can be told."""
    losses: dict[str, float]
    megapixels: float
    """Megapixels learnt from so far."""
    images_per_second: float
    megapixels_per_second: float
    waiting: float
    """Share of the time spent waiting for data, since the last report."""
    validation: dict[str, float] | None = None
    notes: list[str] = field(default_factory=list)
    """In the first report: what the caller should know, a sentence each."""

    def __str__(self) -> str:
        """Return step, losses and validation as one line, which says so if the restored are worse than the noisy."""
        parts = [f"step {self.step}", f"{self.share:.0%}"]
        single = len(self.losses) == 2 and "loss" in self.losses  # the sum of one term
        parts += [f"{name} {value:.4g}" for name, value in self.losses.items() if name == "loss" or not single]
        judged = self.validation or {}
        parts += [form.format(judged[name]) for name, form in FORMS.items() if name in judged]
        if falls_short(judged):
            parts.append(f"WORSE THAN THE INPUT ({judged['psnr_input']:.2f} dB)")
        return "  ".join(parts)


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    start: str | Path | None = None,
    device: str = "auto",
    extras: bool = True,
) -> Generator[Progress, None, None]:
    """Train by a recipe into a run directory, yielding `Progress`.

    Args:
        recipe: what to do.
        out: the run directory (see `hush.learning.runs`).
        resume: go on from its checkpoint.
        start: weights to start from: a run's .safetensors, or anything that `hush.open_weights` takes; as
            ``PART=WEIGHTS`` they are those of a part of the network, such as ``classifier=run/last.safetensors``.
        device: auto, cpu, cuda or mps.
        extras: draw curves.png, and write best.onnx and last.onnx at the end; a study, which draws the curves of all
            its runs in one page, goes without.

    Raises RecipeError for a recipe that cannot be followed, TrainingError if the loss or its gradient is no longer
    finite, or if a checkpoint is of another network, method or optimiser.
    """
    if resume and start is not None:
        raise RecipeError("a resumed training goes on from its checkpoint, not from other weights; leave out --from")
    if resume:
        check_resumable(Path(out))
    processes = Processes.join(device)
    data = split(
        open_dataset(recipe.data.set, recipe.data.root), str(recipe.data.validation), recipe.data.validation_pictures
    )
    method = open_method(recipe, processes.device)
    if processes.count > 1 and getattr(method, "one_process", False):
        raise RecipeError(f"method {recipe.method!r} learns in one process; start it without torchrun")
    if hasattr(method, "prepare"):
        data = method.prepare(data)
    training = Training(recipe, method, data, processes)
    notes = training.note_oddities()
    if resume:
        notes += training.load(Path(out) / "checkpoint.safetensors")
    if start is not None:
        notes += training.start_from(start)
    if extras and training.restores and not resume and ":" in recipe.network:  # somebody's own
        check_export(training.restorer.network)
    if processes.first:
        read_held_out(data.test, training.patches.store)
    run = Run(out, recipe, resume=resume, extras=extras) if processes.first else None
    if run and resume:
        run.trim_log(training.step)
    if run and not resume and hasattr(method, "degrade"):
        run.save_data(training.look())
    processes.wrap(method)
    try:
        for progress in training.go(run):
            yield replace(progress, notes=notes)
            notes = []
    except GeneratorExit:  # the caller has had enough, and may want to go on another day
        if run:
            training.save(run.checkpoint)
        raise
    except NotFinite:
        raise
    except Exception as error:  # a picture is broken, a disk full: what was learnt need not be lost
        if not run or not training.step:
            raise
        with suppress(HushError):
            training.save(run.checkpoint)
            steps = "1 step" if training.step == 1 else f"{training.step} steps"
            kept = f"{error}. What was learnt in {steps} is kept: when that is mended or removed, --resume goes on"
            error.args = (kept, *error.args[1:])
        raise
    if run:
        training.finish(run)
    processes.wait()


class Training:
    """The state of a running training: what a checkpoint holds, and how it moves on."""

    def __init__(self, recipe: Recipe, method: Any, data: DataSet, processes: Processes) -> None:
        self.recipe, self.method, self.data, self.processes = recipe, method, data, processes
        self.restorer = next(iter(method.updaters.values()))
        channels = self.restorer.network.limits.channels
        check_labels([*data.train, *data.test], self.restorer.network.limits, recipe.network)
        self.parts = recipe.optimiser.accumulate
        check_parts(recipe, processes.count)
        size = recipe.data.batch // (self.parts * processes.count)
        self.patches = Patches(data.train, recipe.data, channels, recipe.seed, size)
        self.restores = restores(recipe.method)
        judge = Validation if self.restores else Accuracy
        self.validation: Validation | Accuracy = judge(data.test, recipe, self.patches.store)
        self.steps = _planned_steps(recipe, len(data.train))
        self.step, self.pixels, self.best = 0, 0, -math.inf
        self.curve: list[tuple[float, float]] = []
        """Megapixels learnt from, and what the validation gave there: PSNR in dB, or a classifier's accuracy."""
        self.started_from: dict[str, Any] = {}
        self.elapsed = 0.0

    def look(self) -> list[list[NDArray[np.float32]]]:
        """Return rows of the first patches (H, W, C) as the network gets them: noisy, and clean where it restores."""
        batch = self.patches(0, 0).to(self.processes.device)
        noisy, _, target = self.method.degrade(batch, self._rngs()[0])
        clean = batch.clean if target is None else target
        views = [noisy, clean] if self.restores else [noisy]
        return [[as_image(view[i : i + 1]) for i in range(min(LOOKED_AT, len(view)))] for view in views]

    def go(self, run: Run | None) -> Iterator[Progress]:
        """Train to the end, reporting on the way."""
        loader = self._load_ahead()
        meter = _Meter(self)
        try:
            share = self._share(meter)
            while share < 1:
                batches = [next(loader).to(self.processes.device) for _ in range(self.parts)]
                losses = self._learn(batches, share, run)
                self.step += 1
                self.pixels += sum(batch.clean[:, 0].numel() for batch in batches) * self.processes.count
                share = self._share(meter)  # once a step, by all processes: they do not report at the same steps
                judged = self.step % self.recipe.validate_every == 0 or share >= 1
                if judged or meter.due():
                    speeds = meter.read(loader.waited)
                    figures = self._judge(run) if judged and run else None
                    share = self._share(meter) if judged else share  # judging takes time; by all processes again
                    progress = Progress(
                        self.step, share, meter.elapsed(), meter.remaining(share), losses, self.pixels / 1e6, *speeds,
                        validation=figures,
                    )  # fmt: skip
                    self._keep(run, progress)
                    yield progress
                    meter.restart(loader.waited)
        finally:
            loader.close()
            self.elapsed = meter.elapsed()

    def _learn(self, batches: list[Batch], share: float, run: Run | None) -> dict[str, float]:
        """Update once and return the terms of the loss. Raises NotFinite if they, or their gradient, are not finite."""
        torch.manual_seed(self._seed(8, 0))  # dropout, and parts of one's own, may draw without a generator
        try:
            losses: dict[str, float] = self.method.step(batches, self._rngs(), self.step, share)
            check_finite(losses)  # a method of one's own may update by itself
        except NotFinite as error:
            kept = f"; the last good state is {run.checkpoint}" if run and run.checkpoint.exists() else ""
            mend = self._origin(batches[0]) or "Lower optimiser.rate, raise optimiser.warmup or set optimiser.clip"
            raise NotFinite(f"step {self.step}: {error}{kept}. {mend}") from error
        for updater in self.method.updaters.values():
            self.processes.share_statistics(updater.network)
            if updater.averaged is not updater.network:
                self.processes.share_statistics(updater.averaged)
        return self.processes.mean(losses)

    @torch.no_grad()
    def _origin(self, batch: Batch) -> str:
        """Say which part gives what is not finite before anything was learnt; nothing afterwards, or if none does."""
        if self.step or not hasattr(self.method, "degrade"):
            return ""
        noisy, sigma_map, _ = self.method.degrade(batch, self._rngs()[0])
        if not noisy.isfinite().all():
            return f"The noisy pictures are not: look at degradation = {self.recipe.degradation!r} and the data"
        outputs = self.restorer.network(noisy, sigma_map=sigma_map, label=batch.label) if self.restores else noisy
        if isinstance(outputs, torch.Tensor) and not outputs.isfinite().all():
            return f"The network gives such values before it has learnt anything: look at {self.recipe.network}"
        return ""

    def finish(self, run: Run) -> None:
        """Save the last weights, and write restorers as files that run without torch."""
        if not (run.folder / "best.safetensors").exists():
            run.save_weights("best", self.restorer.averaged, self._card({}))
        run.save_weights("last", self.restorer.averaged, self._card({}))
        for name in ("best", "last") if run.extras and self.restores else ():
            run.export(name)

    def start_from(self, start: str | Path) -> list[str]:
        """Take over trained numbers; return a note of the layers that did not fit.

        A network with ``adopt(numbers)`` says what the numbers of a smaller form of itself are called in it.
        """
        from hush.learning.torch_runtime import read_numbers, read_start

        part, _, source = re.fullmatch(r"(?:([a-z_]\w*)(=))?(.+)", str(start), re.DOTALL).groups()  # type: ignore[union-attr]
        prefix = f"{part}." if part else ""
        self.started_from = read_start(source) | ({"part": part} if part else {})
        numbers = {prefix + name: torch.as_tensor(value) for name, value in read_numbers(source).items()}
        if not part and (adopt := getattr(self.restorer.network, "adopt", None)):
            numbers = adopt(numbers)
        counters = "num_batches_tracked"  # which nothing reads, and files that ship do not have
        missing = load_numbers(self.restorer.network, numbers)
        unfitting = [name for name in missing if name.startswith(prefix) and not name.endswith(counters)]
        own = {name for name in self.restorer.network.state_dict() if name.startswith(prefix)}
        if set(missing) >= own:
            raise RecipeError(f"{start}: not one layer fits the network {self.recipe.network}")
        self.restorer.averaged.load_state_dict(self.restorer.network.state_dict())
        return [f"these layers did not fit and start afresh: {', '.join(unfitting)}"] if unfitting else []

    def note_oddities(self) -> list[str]:
        """Return a note of each key that does nothing, and one if noise is to be added to pairs that are noisy already.

        Raises RecipeError for levels that the network cannot be told.
        """
        limits, unused = self.restorer.network.limits, getattr(self.method, "unused", ())
        check_told(self.recipe, limits)
        noise_is_made = getattr(self.method, "degradation", None) is not None  # not where it is frozen
        notes = note_noise_on_pairs(self.recipe, self.data, learnt=noise_is_made) + note_known_pictures(self.data)
        mixed, undrawn = self.patches.mixed, self.patches.undrawn
        return notes + note_idle_keys(self.recipe, limits, mixed=mixed, undrawn=undrawn, unused=unused)

    def save(self, path: Path) -> None:
        """Save all that --resume needs."""
        state = {name: getattr(self, name) for name in ("step", "pixels", "best", "elapsed", "curve")}
        state["origin"] = self.started_from
        state["best"] = self.best if math.isfinite(self.best) else None
        state["recipe"] = to_dict(self.recipe)
        state["held_out"] = [item.name for item in self.data.test]
        state["method"] = getattr(self.method, "state", {})
        state["updaters"] = {name: updater.state_dict() for name, updater in self.method.updaters.items()}
        save_state(path, state)

    def load(self, path: Path) -> list[str]:
        """Go on from a checkpoint; return a note of the keys of the recipe that have changed since.

        Raises TrainingError if it is of another network, method or optimiser.
        """
        state = load_state(path)
        before = state.get("recipe") or to_dict(read_run_recipe(path.parent))
        changed = changed_keys(before, to_dict(self.recipe))
        for key in FIXED:
            if key in changed:
                was, now = changed[key]
                raise TrainingError(
                    f"{path}: is of {key} = {was!r}, the recipe says {now!r}. Leave that key as it was, or begin "
                    f"another run from these weights: --out FOLDER --from {path.with_name('best.safetensors')}"
                )
        self.step, self.pixels, self.elapsed = state["step"], state["pixels"], state["elapsed"]
        self.best = -math.inf if state["best"] is None else state["best"]
        self.curve, self.started_from = state["curve"], state["origin"]
        notes = self._note_judging(state.get("held_out"), before)
        if state.get("method"):
            self.method.state = state["method"]
        for name, updater in self.method.updaters.items():
            updater.load_state_dict(state["updaters"][name])
        told = [f"{key} = {now!r} (was {was!r})" for key, (was, now) in changed.items() if not key.startswith(FREE)]
        return [f"going on with another recipe: {', '.join(told)}"] * bool(told) + notes

    def _note_judging(self, held_out: Sequence[str] | None, before: Mapping[str, Any]) -> list[str]:
        """Begin the search for the best anew where figures cannot be compared with those of before; say so.

        Args:
            held_out: names of the pictures that figures were of; None where a checkpoint does not tell.
            before: the recipe of then, as nested tables.
        """
        names = {item.name for item in self.data.test}
        known = names if held_out is None else set(held_out)
        keys = ("degradation", "validation_degradation", "untold")
        then = replace(self.recipe, **{key: before[key] for key in keys if key in before})
        noise = judged_noise(then) != judged_noise(self.recipe)
        why = ["on other pictures"] * (names != known) + ["under other noise"] * noise
        if not why:
            return []
        self.best = -math.inf
        notes = [f"judged {' and '.join(why)} than before: best.safetensors is chosen anew"]
        if added := sorted(names - known):
            notes.append(f"not held out before: {name_some(added)}; if they were learnt from, figures are too good")
        return notes

    def _load_ahead(self) -> Ahead:
        def parts() -> Iterator[tuple[int, int]]:
            step = self.step
            while True:
                yield from ((step, self.processes.rank * self.parts + part) for part in range(self.parts))
                step += 1

        return Ahead(self.patches, parts())

    def _rngs(self) -> list[torch.Generator]:
        """Return a generator per part of this step's batch: a pure function of seed, step and part."""
        seeds = [self._seed(2, part) for part in range(self.parts)]
        return [torch.Generator(self.processes.device).manual_seed(seed) for seed in seeds]

    def _seed(self, purpose: int, part: int) -> int:
        """Return a seed for a purpose, other than those of `Patches`, in one part of this step's batch."""
        key = (self.recipe.seed, purpose, self.step, self.processes.rank * self.parts + part)
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)

    def _share(self, meter: _Meter) -> float:
        """Return how much is done, by whichever limit is nearest."""
        shares = [self.step / self.steps] if self.steps else []
        if self.recipe.length.minutes:
            shares.append(self.processes.agree(meter.elapsed() / 60 / self.recipe.length.minutes))
        return min(1.0, max(shares))

    def _judge(self, run: Run) -> dict[str, float]:
        figures, samples = self.validation(self.method)
        if samples:
            run.save_samples(self.step, samples)
        reached = figures[self.validation.figure]
        self.curve.append((round(self.pixels / 1e6, 1), round(reached, 3)))
        if reached > self.best:
            self.best = reached
            run.save_weights("best", self.restorer.averaged, self._card(figures))
        return figures

    def _card(self, figures: dict[str, float]) -> Card:
        return describe(
            self.recipe,
            self.restorer.network.limits,
            pictures=len(self.data.train),
            training={
                "steps": self.step,
                "megapixels": round(self.pixels / 1e6, 1),
                "hours": round(self.elapsed / 3600, 2),
                "processes": self.processes.count,
                "curve": self.curve,
                **({"started_from": self.started_from} if self.started_from else {}),
            },
            figures=[{"data": "validation", "n": len(self.data.test), **figures}] if figures else [],
            device=self.processes.device,
        )

    def _keep(self, run: Run | None, progress: Progress) -> None:
        self.elapsed = progress.elapsed
        if run is None:
            return
        entry = {key: value for key, value in asdict(progress).items() if value not in (None, [], math.inf)}
        run.log({**entry, "rate": self.restorer.rate})
        if progress.validation:
            run.draw_curves()
        if progress.validation or time.time() - run.saved > SAVE_SECONDS:
            self.save(run.checkpoint)
            run.saved = time.time()


class _Meter:
    """Time and speed of a training."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.began = time.perf_counter() - training.elapsed
        self.first_share: float | None = None
        self.first_elapsed = training.elapsed
        self.restart(0.0)

    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def due(self) -> bool:
        return time.perf_counter() - self.since > REPORT_SECONDS

    def restart(self, waited: float) -> None:
        self.since, self.waited = time.perf_counter(), waited
        self.step, self.pixels = self.training.step, self.training.pixels

    def read(self, waited: float) -> tuple[float, float, float]:
        """Return images/s, megapixels/s and the share of time spent waiting since the last report."""
        seconds = max(1e-9, time.perf_counter() - self.since)
        images = (self.training.step - self.step) * self.training.recipe.data.batch
        return images / seconds, (self.training.pixels - self.pixels) / 1e6 / seconds, (waited - self.waited) / seconds

    def remaining(self, share: float) -> float:
        if self.first_share is None:
            self.first_share, self.first_elapsed = share, self.elapsed()
        done = share - self.first_share
        return (self.elapsed() - self.first_elapsed) * (1 - share) / done if done > 0 else math.inf


def _planned_steps(recipe: Recipe, pictures: int) -> int:
    """Return the number of steps that steps and epochs allow; 0 where only minutes limit."""
    check_length(recipe)
    limits = [recipe.length.steps] if recipe.length.steps else []
    if recipe.length.epochs:
        limits.append(math.ceil(recipe.length.epochs * pictures / recipe.data.batch))
    return min(limits) if limits else 0
