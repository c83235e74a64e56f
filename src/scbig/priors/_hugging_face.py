"""Pretrained DNA models in the format of Hugging Face, from a folder.

Their tokens are of uneven length; they are averaged so that every window has the same number.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from scbig._optional import require
from scbig.priors._dna_encoder import LocusTokens
from scbig.priors._windows import Windows

_BLOCK_BYTES = 1 << 20


class HuggingFaceEncoder:
    """Hidden states of a pretrained model, frozen. Needs the extra ``hf``.

    A window is cut into parts of equal length, and each becomes the mean of its hidden states; of
    a part with perturbed bases, of those states that meet them. Nothing is downloaded, and only
    weights in safetensors are read.

    Parameters
    ----------
    path
        Folder with the model and its tokenizer, as ``save_pretrained`` or ``hf download`` write
        it.
    width
        Number of bases of a window.
    n_bins
        Number of parts that a window is cut into; divides `width`.
    layer
        Which hidden states: 0 for the embeddings, -1 for the last layer.
    device
        Where the model runs, for example ``"cuda"``.
    trust_remote_code
        Whether to run Python files that lie in the folder. Read them before you do.

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    ImportError
        When transformers is not installed.
    ValueError
        When `width`, `n_bins` or `layer` is impossible.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        width: int,
        n_bins: int = 32,
        layer: int = -1,
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> None:
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise FileNotFoundError(
                f"{self.path} is no folder with a model (no config.json). Nothing is downloaded "
                "here; fetch one with: hf download NAME --local-dir FOLDER"
            )
        if width < 1 or n_bins < 1 or width % n_bins:
            raise ValueError(f"width={width} cannot be cut into n_bins={n_bins} equal parts")
        transformers = require("transformers", "hf")
        settings: dict[str, Any] = {
            "local_files_only": True, "trust_remote_code": trust_remote_code
        }  # fmt: skip
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(str(self.path), **settings)
        model = transformers.AutoModel.from_pretrained(
            str(self.path), use_safetensors=True, **settings
        )
        n_states = model.config.num_hidden_layers + 1
        if not -n_states <= layer < n_states:
            raise ValueError(
                f"layer={layer}; the model in {self.path} has hidden states 0 to {n_states - 1}"
            )
        self._model = model.to(device).eval()
        self._width, self.n_bins, self.layer = width, n_bins, layer

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._model.config.hidden_size)

    @property
    def width(self) -> int:
        """Number of bases of a window."""
        return self._width

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the files of the folder, the width, the bins and the layer."""
        digest = blake2b(f"{self.width} {self.n_bins} {self.layer}".encode(), digest_size=16)
        for file in sorted(path for path in self.path.iterdir() if path.is_file()):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK_BYTES):
                    digest.update(block)
        return f"hf-{digest.hexdigest()}"

    def encode(self, windows: Windows) -> LocusTokens:
        """Run the model.

        Parameters
        ----------
        windows
            Windows of the encoder's width.

        Returns
        -------
        `n_bins` tokens for each, in the order of the window.

        Raises
        ------
        ValueError
            When windows have another width, or are longer than the model can read.
        """
        if windows.width != self.width:
            raise ValueError(f"windows of {windows.width} bases for width={self.width}")
        pairs = zip(windows.sequences, windows.is_target, strict=True)
        values, is_token = zip(*(self._encode(*pair) for pair in pairs), strict=True)
        parts = windows.is_target.reshape(len(windows), self.n_bins, -1)
        is_target = np.logical_or.reduce(parts, axis=2)
        return LocusTokens(np.stack(values), is_target, np.stack(is_token))

    def _encode(self, sequence: str, is_target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        # One window at a time, so that padding cannot change a vector.
        tokens = self._tokenizer(
            sequence, return_tensors="pt", return_offsets_mapping=self._tokenizer.is_fast
        )
        offsets = tokens.pop("offset_mapping", None)
        ids = tokens["input_ids"]
        self._check_length(ids.shape[1])
        with torch.inference_mode():
            output = self._model(**tokens.to(self._model.device), output_hidden_states=True)
        states = output.hidden_states[self.layer][0].float().cpu().numpy()
        spans = self._measure(ids[0].tolist(), sequence) if offsets is None else offsets[0].numpy()
        return summarize_tokens(states, spans, is_target, self.n_bins)

    def _measure(self, ids: list[int], sequence: str) -> np.ndarray:
        special = self._tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        names = self._tokenizer.convert_ids_to_tokens(ids)
        return measure_tokens(names, np.array(special, dtype=bool), sequence)

    def _check_length(self, n_tokens: int) -> None:
        limit = getattr(self._model.config, "max_position_embeddings", None)
        embeddings = getattr(self._model, "embeddings", None)
        if limit is not None and hasattr(embeddings, "position_embeddings"):
            # As in RoBERTa, ESM counts positions from one after that of padding.
            limit -= getattr(embeddings, "padding_idx", -1) + 1
        if limit is not None and n_tokens > limit:
            raise ValueError(
                f"a window of {self.width} bases makes {n_tokens} tokens; the model in "
                f"{self.path} reads {limit}. Choose a smaller width"
            )


def measure_tokens(tokens: Sequence[str], is_special: np.ndarray, sequence: str) -> np.ndarray:
    """Which bases each token stands for, from the letters of the tokens.

    Parameters
    ----------
    tokens
        Tokens in order.
    is_special
        Whether a token stands for no bases, shape (n_tokens,).
    sequence
        What was cut into tokens.

    Returns
    -------
    First base and one past the last of each token, shape (n_tokens, 2).

    Raises
    ------
    ValueError
        When the letters of the tokens are not those of the sequence.
    """
    texts = ["" if special else t for t, special in zip(tokens, is_special, strict=True)]
    if "".join(texts).upper() != sequence.upper():
        raise ValueError(
            "the tokenizer's tokens do not spell the sequence, so what they stand for is not "
            f"known: {list(tokens)[:6]}... for {sequence[:30]}...; use a fast tokenizer"
        )
    ends = np.cumsum([len(text) for text in texts])
    return np.stack([ends - [len(text) for text in texts], ends], axis=1)


def summarize_tokens(
    vectors: np.ndarray, spans: np.ndarray, is_target: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average the tokens of each part of a window.

    In a part with perturbed bases only the tokens that meet these count, as far as there are any.

    Parameters
    ----------
    vectors
        Vector of each token, shape (n_tokens, dim).
    spans
        First base and one past the last of each token, shape (n_tokens, 2); tokens without
        bases are left out.
    is_target
        Whether a base is perturbed, shape (width,).
    n_bins
        Number of parts of equal length, which divides the width; a token belongs to that of its
        middle.

    Returns
    -------
    Means, shape (n_bins, dim), and whether each is of any token, shape (n_bins,).
    """
    has_bases = spans[:, 1] > spans[:, 0]
    vectors, (starts, ends) = vectors[has_bases], spans[has_bases].T
    n_before = np.concatenate([[0], np.cumsum(is_target)])
    meets_target = n_before[ends] > n_before[starts]
    part = (starts + ends) // 2 * n_bins // len(is_target)
    weights = np.zeros((n_bins, len(vectors)), dtype=np.float32)
    weights[part, np.arange(len(vectors))] = 1.0
    of_target = weights * meets_target
    weights = np.where(of_target.any(axis=1, keepdims=True), of_target, weights)
    n_tokens = weights.sum(axis=1)
    return weights @ vectors / np.maximum(n_tokens, 1.0)[:, None], n_tokens > 0
