"""The ranks of one learner, as each of them sees the others.

Every rank gets every command from the node over a socket of its own, so nothing is
dispatched here: ranks meet only in collectives, and call the same ones in the same order. A
rank that cannot keep up with that must end; the node then ends the others, which wakes
whoever waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch.distributed import TCPStore
from torch.nn import Parameter

from azr.errors import AzrError, LearnerError
from azr.learner.protocol import LOOPBACK, Seat


@dataclass(frozen=True, slots=True)
class Peers:
    """This rank and the number of all; alone, every call answers without communication."""

    rank: int = 0
    num_ranks: int = 1

    def gather[T](self, value: T) -> list[T]:
        """Every rank's value, in rank order, on every rank. Tensors in it must be on the host.

        Pickled, like all that the learner's processes say to each other.
        """
        if self.num_ranks == 1:
            return [value]
        values: list[T | None] = [None] * self.num_ranks
        dist.all_gather_object(values, value)
        return cast("list[T]", values)

    @contextmanager
    def failing_together(self) -> Generator[None]:
        """Raise one rank's AzrError on every rank, so that none goes on without the others.

        Inside, nothing may wait for another rank.
        """
        failure: AzrError | None = None
        try:
            yield
        except AzrError as error:
            failure = error
        for each in self.gather(failure):
            if each is not None:
                raise each

    def sum_gradients(self, parameters: Iterable[Parameter]) -> None:
        """Add up every rank's gradients, in place: the same bits on every rank.

        A parameter that only some ranks have a gradient for counts as 0 on the others.
        """
        if self.num_ranks == 1:
            return
        listed = list(parameters)
        present = self.gather([parameter.grad is not None for parameter in listed])
        pending = []
        for parameter, having in zip(listed, zip(*present, strict=True), strict=True):
            if not any(having):
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            pending.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in pending:
            if work is not None:
                work.wait()


ALONE = Peers()


def join(
    seat: Seat, device: torch.device, *, rendezvous_seconds: float, collective_seconds: float
) -> Peers:
    """Meet the other ranks: gloo on the host, and NCCL beside it on GPUs.

    Raises:
        LearnerError: ranks differ in their kind of device; all of them raise it.
        RuntimeError: not all ranks came in time.
    """
    if seat.num_ranks == 1:
        return ALONE
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name may be unroutable
    is_master = seat.rank == 0
    store = TCPStore(
        LOOPBACK,
        seat.store_port,
        world_size=None,
        is_master=is_master,
        timeout=timedelta(seconds=rendezvous_seconds),
        wait_for_workers=False,
        use_libuv=True,
        master_listen_fd=seat.store_fd if is_master else None,
    )
    # Ranks take unequal time to get here; collectives then have a deadline of their own.
    store.set(f"here/{seat.rank}", "")
    store.wait([f"here/{rank}" for rank in range(seat.num_ranks)])
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=seat.rank,
        world_size=seat.num_ranks,
        timeout=timedelta(seconds=collective_seconds),
    )
    peers = Peers(seat.rank, seat.num_ranks)
    kinds = peers.gather(device.type)
    if len(set(kinds)) > 1:
        raise LearnerError(
            f"the learner's ranks have unlike devices: {', '.join(kinds)}",
            hint="Lower learner.ranks to the number of free GPUs, or set engine.device to cpu.",
        )
    return peers
