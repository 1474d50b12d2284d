"""The bench: all peers restore the same noisy pictures, slow ones some of them; quality, time, memory in one report.

Quality is kept by version, data and noise (see `hush.judging.bench.store`), so that a bench that was interrupted goes
on. Times are measured anew by every run; so is memory, except for peers that take minutes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hush.errors import HushError, UsageError
from hush.imaging import metrics
from hush.imaging.metrics import METRICS
from hush.judging.bench.peers import Missing, Peer, line_up
from hush.judging.bench.report import CHANNELS, Bench
from hush.judging.bench.store import Store, digest
from hush.judging.bench.timing import megapixel, time_peers
from hush.judging.bench.workers import Worker
from hush.judging.evaluation import Case, cases, measure, open_chains, read_clean, row_of
from hush.judging.pictures import JudgedData, open_data
from hush.judging.protocol import Protocol
from hush.judging.results import Report, Row
from hush.names import find
from hush.restoring.machine import cores

Image = NDArray[np.float32]
TellBench = Callable[[int, int, str], None]

KNOWN_SETS = ("CBSD68", "Kodak24", "BSD68", "Set12")  # those that published figures are about
DEMO = Path(metrics.__file__).parent.parent / "demo"
DEGRADATIONS = ("gaussian(sigma=15)", "gaussian(sigma=25)", "gaussian(sigma=50)")
JUDGES = ("psnr", "ssim")
TIMED_PICTURES = 3
ALIKE = {"psnr": 0.005, "ssim": 0.0005}  # settings of one program that differ by no more are judged once


@dataclass(frozen=True)
class Plan:
    """What a bench measures."""

    data: tuple[str, ...] = ()
    """Folders of clean pictures, or of the known sets; empty: the photographs of the demo."""
    degradations: tuple[str, ...] = DEGRADATIONS
    """Times are those of the middle one."""
    weights: tuple[str, ...] = ("gaussian",)
    """Names or files; a family's name stands for all its tiers."""
    peers: Path | None = None
    """Folder with published numbers as bare arrays; None looks for ``peers`` beside the known sets."""
    out: Path = Path("bench")
    """Folder for what is kept between runs."""
    threads: int | None = None
    """That each peer may use; None for all cores."""
    rounds: int = 5
    """How often each of three pictures is timed."""
    limit: int | None = None
    """Only the first so many pictures of each data set."""
    slow: bool = True
    """Whether peers that take minutes for a megapixel take part."""
    slow_pictures: int = 8
    """How many pictures of each data set these restore, spread evenly; 0 for all."""

    def quickened(self) -> Plan:
        """Return the plan of a run of a few minutes: one degradation, two pictures of a set, nobody slow."""
        middle = self.degradations[len(self.degradations) // 2]
        return replace(self, degradations=(middle,), limit=min(self.limit or 2, 2), rounds=2, slow=False)


def bench(plan: Plan, progress: TellBench = lambda done, total, words: None) -> Bench:
    """Measure our weights and their peers.

    ``progress`` is called with (done, total, what). Raises UsageError for degradations and data that do not fit,
    WeightsError for unknown weights, PictureError for pictures that are missing.
    """
    for name, least in (("rounds", 1), ("slow_pictures", 0)):
        if (value := getattr(plan, name)) < least:
            raise UsageError(f"{name} is {value}; it must be {least} or more")
    threads = plan.threads or cores()
    protocol = Protocol(JUDGES, limit=plan.limit).checked()
    folders, beside = find_sets(plan.data or (str(DEMO),))
    sets = [replace(open_data(name, limit=plan.limit), name=Path(name).name) for name in folders]
    peers, missing = line_up(plan.weights, plan.peers or beside, plan.out / "converted", slow=plan.slow)
    chains = open_chains(plan.degradations, sets)
    session = _Session(protocol, chains, Store(plan.out / "figures.jsonl"), progress, missing, plan.slow_pictures)
    parts = _by_channels(sets)
    for channels, group in parts.items():
        session.run(channels, group, [peer for peer in peers if channels in peer.channels], threads, plan.rounds)
    order = [data.name for group in parts.values() for data in group], list(chains), [peer.name for peer in peers]
    rows = sorted(session.rows, key=lambda row: tuple(map(_place, order, (row[key] for key in KEYS))))
    record = protocol.record({"threads": threads}, session.descriptions)
    record["versions"] |= session.versions
    report = Report.of(record, protocol.metrics, rows)
    missing_rows = [vars(entry) for entry in session.missing]
    return Bench(report, session.sets, session.times, missing_rows, session.alike)


KEYS = ("data", "degradation", "weights")


def _as_good(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    return all(first[metric] == second[metric] or abs(first[metric] - second[metric]) <= most
               for metric, most in ALIKE.items())  # fmt: skip


def _place(order: Sequence[str], value: str) -> int:
    return order.index(value)


def find_sets(data: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the folders of clean pictures, and the folder of published numbers that lies beside known sets.

    A folder that holds known sets, itself or in ``test``, stands for these.
    """
    found: list[str] = []
    peers = None
    for name in data:
        roots = (Path(name).expanduser(), Path(name).expanduser() / "test")
        known = [str(root / known) for root in roots for known in KNOWN_SETS if (root / known).is_dir()]
        found += known or [name]
        if known and (roots[0] / "peers").is_dir():
            peers = roots[0] / "peers"
    names = [Path(name).name for name in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two data sets are named {twice[0]!r}; rename a folder, so that tables can tell them apart")
    return found, peers


def _by_channels(sets: Sequence[JudgedData]) -> dict[int, list[JudgedData]]:
    """Part colour from gray pictures; what was in one folder gets names that tell them apart."""
    parts: dict[int, list[JudgedData]] = {}
    for data in sets:
        channels = [read_clean(picture.clean).shape[2] for picture in data.pictures]
        for kind in dict.fromkeys(channels):
            alike = [picture for picture, count in zip(data.pictures, channels, strict=True) if count == kind]
            name = data.name if len(alike) == len(channels) else f"{data.name}, {CHANNELS[kind]}"
            parts.setdefault(kind, []).append(replace(data, name=name, pictures=alike))
    return dict(sorted(parts.items(), reverse=True))


class _Session:
    """What a bench has found so far."""

    def __init__(
        self,
        protocol: Protocol,
        chains: Mapping[str, Any],
        store: Store,
        progress: TellBench,
        missing: list[Missing],
        slow_pictures: int,
    ) -> None:
        self.protocol, self.chains, self.store, self.progress = protocol, chains, store, progress
        self.missing = missing
        self.slow_pictures = slow_pictures
        self.rows: list[Row] = []
        self.sets: list[Row] = []
        self.times: list[Row] = []
        self.alike: list[Row] = []
        self.descriptions: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self._judges = {name: find(METRICS, name, "metric") for name in protocol.metrics}
        self._judged_by = digest(*(inspect.getsource(judge) for judge in self._judges.values()))
        self._done = self._total = 0

    def run(self, channels: int, sets: Sequence[JudgedData], peers: Sequence[Peer], threads: int, rounds: int) -> None:
        """Measure peers on data sets whose pictures have so many channels."""
        pictures = sum(len(data.pictures) for data in sets)
        self.sets += [{"data": data.name, "channels": channels, "pictures": len(data.pictures)} for data in sets]
        self._done, self._total = 0, len(peers) * (pictures * len(self.chains) + TIMED_PICTURES * rounds)
        few = {(data.name, data.pictures[number].name) for data in sets for number in self._spread(data)}
        with ExitStack() as stack:
            team = dict(self._open(peers, threads, stack))
            timed = self._timed_cases(sets[0])
            self._time(channels, timed, team, rounds)
            alike = self._alike(timed, team)
            for case in cases(sets, self.chains, self.protocol):
                self._judge(case, team, alike, among_few=(case.data, case.picture.name) in few)
        found = ((name, other) for name, other in alike.items() if name in team and other in team)
        self.alike += [{"channels": channels, "peer": name, "judged": other} for name, other in found]

    def _spread(self, data: JudgedData) -> set[int]:
        """Return the numbers of the pictures that slow peers restore too."""
        last = len(data.pictures) - 1
        wanted = min(self.slow_pictures or last + 1, last + 1)
        return {round(place * last / max(1, wanted - 1)) for place in range(wanted)}

    def _open(self, peers: Sequence[Peer], threads: int, stack: ExitStack) -> Iterator[tuple[str, Worker]]:
        """Start a process per peer, and say who cannot; settings that come to the same are run once."""
        seen: set[tuple[str, str]] = set()
        for peer in sorted(peers, key=lambda peer: peer.options.get("precision") == "fast"):  # float32 is always there
            self._tell(f"opening {peer.name}", 0)
            try:
                worker = Worker(peer, threads)
            except HushError as error:
                self._miss(peer.name, str(error))
                continue
            stack.callback(worker.close)
            if (peer.family, worker.description) not in seen or peer.ours:
                seen.add((peer.family, worker.description))
                self.descriptions[peer.name] = worker.description
                self.versions |= worker.versions
                yield peer.name, worker

    def _time(self, channels: int, chosen: Sequence[Case], team: dict[str, Worker], rounds: int) -> None:
        """Time the team in turns, then see what each takes of memory."""
        pictures = [(case.noisy, case.sigma) for case in chosen]
        timed = {name: (worker.peer, worker.restore) for name, worker in team.items() if worker.peer.timed}
        times, failed = time_peers(timed, pictures, rounds, lambda name: self._tell(f"timing {name}"))
        reference = next((times[name] for name in times if team[name].peer.ours), None)
        for name, reason in failed.items():
            self._drop(team, name, reason)
        for name, measured in times.items():
            peer = team[name].peer
            try:
                memory = self._memory(team[name], megapixel(pictures[0][0]))
            except HushError as error:
                self._drop(team, name, str(error))
                continue
            self.times.append(
                {
                    "channels": channels,
                    "peer": name,
                    "family": peer.family,
                    "ours": peer.ours,
                    **measured.summary(reference),
                    "memory": memory,
                }
            )

    def _timed_cases(self, data: JudgedData) -> list[Case]:
        """Return noisy pictures from the beginning, the middle and the end of a data set."""
        last = len(data.pictures) - 1
        chosen = [data.pictures[number] for number in sorted({0, last // 2, last})]
        name = list(self.chains)[len(self.chains) // 2]
        few = replace(data, pictures=chosen)
        return list(cases([few], {name: self.chains[name]}, self.protocol))

    def _alike(self, chosen: Sequence[Case], team: dict[str, Worker]) -> dict[str, str]:
        """Return settings of a program that do as well as one before them on each picture, which need no judging."""
        alike: dict[str, str] = {}
        judged: dict[str, list[tuple[str, list[dict[str, float]]]]] = {}
        families = [worker.peer.family for worker in team.values()]
        for name, worker in list(team.items()):
            if worker.peer.ours or worker.peer.slow or families.count(worker.peer.family) == 1:
                continue
            self._tell(f"comparing settings: {name}", 0)
            try:
                figures = [self._figures(case, worker) for case in chosen]
            except HushError as error:
                self._drop(team, name, str(error))
                continue
            others = judged.setdefault(worker.peer.family, [])
            found = next((other for other, theirs in others if all(map(_as_good, figures, theirs))), None)
            if found is None:
                others.append((name, figures))
            else:
                alike[name] = found
        return alike

    def _memory(self, worker: Worker, image: Image) -> int | None:
        """Return the most bytes that a peer's process holds while it restores a megapixel."""
        self._tell(f"memory of {worker.peer.name}", 0)
        key = digest("memory", worker.peer.fingerprint(), image)
        known = self.store.get(key) if worker.peer.slow else None
        if known is None:
            worker.restore(image, 25.0)
            known = {"memory": worker.peak()}
            self.store.put(key, known, peer=worker.peer.name)
        memory: int | None = known["memory"]
        return memory

    def _judge(self, case: Case, team: dict[str, Worker], alike: Mapping[str, str], *, among_few: bool) -> None:
        """Let each of the team restore a picture, unless its figures are known, and keep a row of them.

        ``alike`` says whose figures stand for whose; ``among_few``, whether those that take minutes take part.
        """
        given = measure(case.noisy, case.clean, self._judges)
        for name, worker in list(team.items()):
            self._tell(f"{name}: {case.data}, {case.degradation}")
            if worker.peer.slow and not among_few:
                continue
            try:
                figures = self._figures(case, team.get(alike.get(name, name), worker))
            except HushError as error:
                self._drop(team, name, str(error))
                continue
            self.rows.append(row_of(case, name, figures, given, None))  # times are measured apart, in turns

    def _figures(self, case: Case, worker: Worker) -> dict[str, float]:
        key = digest(worker.peer.fingerprint(), self._judged_by, f"{case.sigma}", case.noisy, case.clean)
        known = self.store.get(key)
        if known is None:
            restored, _ = worker.restore(case.noisy, case.sigma)
            known = measure(restored, case.clean, self._judges)
            about = {"peer": worker.peer.name, "picture": case.picture.name, "degradation": case.degradation}
            self.store.put(key, known, **about)
        return known

    def _drop(self, team: dict[str, Worker], name: str, reason: str) -> None:
        """Take a peer that failed out of the bench, with what it had reached."""
        self._miss(name, reason)
        del team[name]
        self.rows = [row for row in self.rows if row["weights"] != name]
        self.times = [row for row in self.times if row["peer"] != name]

    def _miss(self, name: str, reason: str) -> None:
        """Name a peer that takes no part, once for colour and gray."""
        entry = Missing(name, reason)
        self.missing += [] if entry in self.missing else [entry]

    def _tell(self, words: str, steps: int = 1) -> None:
        self._done += steps
        self.progress(min(self._done, self._total), self._total, words)
