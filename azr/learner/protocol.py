"""What the host and a learner process say to each other: one reply per request.

Every rank gets every request and answers it; rank 0's answer counts.

Both ends are this program and the socket is inherited, so messages are pickled. Requests
are answered in order; a reply names its request, so one whose caller has left is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from azr.config import RunConfig
from azr.engine.weight_backend import WeightBackend
from azr.errors import AzrError
from azr.types import Batch, PolicyVersion

LOAD_SECONDS = 600.0
"""For starting the processes, importing torch and loading the model."""

LOOPBACK = "127.0.0.1"
"""Where the ranks of one learner meet: they share a machine."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A process's place among the learner's; they are started, and end, together."""

    rank: int = 0
    num_ranks: int = 1
    store_port: int = 0
    store_fd: int = -1
    """Rank 0's: the listening socket of that port, which it inherits."""

    def __str__(self) -> str:
        if self.num_ranks == 1:
            return "the learner process"
        return f"learner rank {self.rank} of {self.num_ranks}"


ALONE = Seat()


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model folder or a checkpoint; answers its policy version."""

    folder: Path
    config: RunConfig
    checkpoints: Path
    """Folder that checkpoints are written to."""
    weight_backend: WeightBackend
    """Decided outside: a rank is shown one GPU, whatever the node has."""
    weight_host: str
    """Address of this machine at which replicas meet the weight sender."""


@dataclass(frozen=True, slots=True)
class Train:
    """One optimizer step; answers a StepResult."""

    batch: Batch
    advantages: tuple[float, ...]
    rate_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class WriteCheckpoint:
    """Write the current version; answers the folder's path."""

    version: PolicyVersion


@dataclass(frozen=True, slots=True)
class ScoreSequences:
    """Log-probs of tokens 1.. of each sequence; answers a list of lists, in nats."""

    sequences: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class RendezvousInfo:
    """Where replicas meet the weight sender; answers its host and port."""


@dataclass(frozen=True, slots=True)
class OpenWeightGroup:
    """Wait for `world_size - 1` replica workers to join `epoch`."""

    world_size: int
    epoch: int


@dataclass(frozen=True, slots=True)
class SendWeights:
    """Broadcast the current weights as `dtype`; answers the sender's measurements."""

    epoch: int
    dtype: str


type Command = (
    Load | Train | WriteCheckpoint | ScoreSequences | RendezvousInfo | OpenWeightGroup | SendWeights
)


@dataclass(frozen=True, slots=True)
class Request:
    request_id: int
    command: Command


@dataclass(frozen=True, slots=True)
class Reply:
    """Either a value or an error of the tree; a bug arrives as LearnerError."""

    request_id: int
    value: object = None
    error: AzrError | None = None
