"""What the learner process does with each request."""

from __future__ import annotations

import logging
from pathlib import Path

from azr.config import RunConfig
from azr.errors import AzrError, LearnerError
from azr.learner import checkpoint
from azr.learner.broadcast import Sender, open_sender
from azr.learner.protocol import (
    Command,
    Load,
    OpenWeightGroup,
    RendezvousInfo,
    Reply,
    Request,
    ScoreSequences,
    SendWeights,
    Train,
    WriteCheckpoint,
)
from azr.learner.step import Refusal, Trainer
from azr.types import PolicyVersion, StepResult

log = logging.getLogger(__name__)


class LearnerService:
    """One trainer and one weight sender, driven by requests in turn."""

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._sender: Sender | None = None
        self._checkpoints = Path()

    def reply(self, request: Request) -> Reply:
        """Carry out a request. Never raises: what failed is in the reply."""
        try:
            return Reply(request.request_id, value=self._answer(request.command))
        except AzrError as error:
            log.warning("request failed: %s", error)
            return Reply(request.request_id, error=error)
        except Exception as error:
            log.exception("request failed unexpectedly")
            name = type(request.command).__name__
            return Reply(
                request.request_id,
                error=LearnerError(f"{name} failed: {type(error).__name__}: {error}"),
            )

    def _answer(self, command: Command) -> object:
        match command:
            case Load():
                return self._load(command)
            case Train():
                return self._train(command)
            case WriteCheckpoint(version):
                return self._checkpoint(version)
            case ScoreSequences(sequences):
                budget_tokens = self.config.learner.micro_batch_tokens
                return self.trainer.policy.sequence_logprobs(sequences, budget_tokens=budget_tokens)
            case RendezvousInfo():
                return self.sender.rendezvous_info()
            case OpenWeightGroup(world_size, epoch):
                return self.sender.open_group(world_size, epoch)
            case SendWeights(epoch, dtype):
                parameters = self.trainer.policy.model.named_parameters()
                return self.sender.send(parameters, epoch=epoch, dtype=dtype)

    @property
    def trainer(self) -> Trainer:
        if self._trainer is None:
            raise LearnerError("the learner has no model yet")
        return self._trainer

    @property
    def config(self) -> RunConfig:
        return self.trainer.config

    @property
    def sender(self) -> Sender:
        if self._sender is None:
            parameters = self.trainer.policy.model.named_parameters()
            self._sender = open_sender(self.config, parameters)
        return self._sender

    def _load(self, command: Load) -> PolicyVersion:
        self._trainer = checkpoint.load(command.folder, command.config)
        self._checkpoints = command.checkpoints
        return self._trainer.version

    def _train(self, command: Train) -> StepResult:
        outcome = self.trainer.train(command.batch, command.advantages)
        if isinstance(outcome, Refusal):
            raise LearnerError(
                f"the step was refused, weights are unchanged: {outcome.reason}",
                hint="Lower learner.learning_rate, or look at the batch's rows in the database.",
            )
        return outcome

    def _checkpoint(self, version: PolicyVersion) -> str:
        if version != self.trainer.version:
            raise LearnerError(
                f"a checkpoint of policy v{version} was asked for,"
                f" but the learner is at v{self.trainer.version}"
            )
        keep = self.config.learner.keep_checkpoints
        return str(checkpoint.write(self.trainer, self._checkpoints, keep=keep))
