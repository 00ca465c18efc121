"""Methods added to vLLM's workers, called by name through `collective_rpc`.

vLLM mixes this class into its worker class, on every device and in every
process, so that a replica needs no other way in.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch


class ReplicaWorker:
    """Staging of the next weights, and a fingerprint of the ones in service."""

    model_runner: Any
    weight_transfer_engine: Any

    def stage_weights(self) -> None:
        """Start to receive the next broadcast; returns at once."""
        self.weight_transfer_engine.stage_weights()

    def finish_staging(self, timeout_seconds: float) -> str:
        """Fingerprint of the complete staged broadcast; raises if it is not."""
        return self.weight_transfer_engine.finish_staging(timeout_seconds)

    def discard_staged(self) -> None:
        """Forget the staged broadcast; the weights in service stay."""
        self.weight_transfer_engine.discard_staged()

    def load_folder(self, folder: str) -> None:
        """Replace the weights by those in a folder, while nothing runs."""
        from azr.engine.gloo_transfer import repack_tied_lm_head  # noqa: PLC0415

        self.model_runner.reload_weights(weights_path=folder)
        repack_tied_lm_head(self.model_runner.get_model())

    @torch.inference_mode()
    def weight_fingerprint(self) -> str:
        """Digest of the parameters as loaded, 16 hex digits.

        Sums over each parameter's bits, taken where the parameter lives: a
        cryptographic digest would stop generation for seconds on a large model.
        vLLM-CPU packs linear weights where no parameter shows them, so the
        fingerprint of the broadcast that they were packed from is mixed in.
        """
        digest = hashlib.blake2b(digest_size=8)
        loaded = getattr(self.weight_transfer_engine, "loaded_fingerprint", "")
        digest.update(str(loaded).encode())
        for name, parameter in self.model_runner.get_model().named_parameters():
            digest.update(f"{name}{tuple(parameter.shape)}{_bit_sums(parameter)}".encode())
        return digest.hexdigest()


def _bit_sums(tensor: torch.Tensor) -> tuple[int, int]:
    """Sum of the bits as integers, and of every second one (sees a swap of neighbours)."""
    if tensor.numel() == 0:
        return 0, 0
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = tensor.detach().contiguous().view(-1).view(integers[tensor.element_size()])
    return int(bits.sum(dtype=torch.int64)), int(bits[::2].sum(dtype=torch.int64))
