"""One training on several processes or machines, as ``torchrun`` starts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hush.learning.devices import choose_device

PATIENCE = timedelta(hours=2)  # how long the others wait while the first one validates


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: str) -> Processes:
        """Join the processes that torchrun started, or be the only one.

        Raises UsageError for a device that is not there.
        """
        count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        chosen = choose_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
        if count > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
        return cls(chosen, rank, count)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wrap(self, method: Any) -> None:
        """Let the networks of a method share their gradients.

        Each network that an updater holds and the method calls under the same name is wrapped.
        """
        if self.count == 1:
            return
        devices = [self.device] if self.device.type == "cuda" else None
        for name in method.updaters:
            setattr(method, name, DistributedDataParallel(getattr(method, name), device_ids=devices))

    @torch.no_grad()
    def share_statistics(self, network: nn.Module) -> None:
        """Bring running statistics of batch normalisation, which each process gathers of its part, to their mean."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.count == 1 or not buffers:
            return
        shared = torch.cat([buffer.flatten().double() for buffer in buffers])  # in which equal ones stay as they are
        distributed.all_reduce(shared)
        for buffer, mean in zip(buffers, (shared / self.count).split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the mean of each value over all processes, which name the same ones."""
        if self.count == 1:
            return dict(values)
        shared = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared)
        return dict(zip(values, (shared / self.count).tolist(), strict=True))

    def agree(self, value: float) -> float:
        """Return the first process's value in every process."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            distributed.barrier()


def leave_at_exit(code: int) -> None:
    """End a process of several: gloo may abort in the interpreter's own shutdown, after all work is done."""
    distributed.barrier()
    distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
