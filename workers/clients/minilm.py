"""all-MiniLM-L6-v2 with 8-bit weights: a sentence model that comes in a package, 200 short texts a second on a core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

VOCABULARY = Path(__file__).with_name("minilm_vocab.txt")  # of BERT, uncased; Apache 2.0
LONGEST = 256  # tokens of a text that count, as in the model's training
FRAME = ("[CLS]", "[SEP]")  # tokens around every text
BATCH = 2048  # tokens of one call; its memory grows with them
LONGEST_TEXT = 8000  # characters; no text of so many has fewer than LONGEST tokens


class MiniLMEmbedder:
    """`folder`: that of the package with `model.onnx`."""

    name = "minilm-l6-int8"
    dimensions = 384
    bag_of_words, quick = False, False

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import BertWordPieceTokenizer

        self._tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
        self._tokenizer.enable_truncation(LONGEST)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the other cores belong to others
        options.enable_cpu_mem_arena = False  # else what the largest batch took would never be given back
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        tokens = [self._tokenizer.encode(text[:LONGEST_TEXT]).ids for text in texts]
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for part in _batches([len(own) if len(own) > len(FRAME) else 0 for own in tokens]):
            found[part] = self._meanings([tokens[index] for index in part])
        return found

    def _meanings(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """The mean of what the model makes of each token, of length 1."""
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        for row, own in zip(ids, tokens, strict=True):
            row[: len(own)] = own
        mask = np.arange(ids.shape[1]) < np.array([[len(own)] for own in tokens])
        feed = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], feed)
        means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts of about the same length go together, since the model sees all of a batch as long as the longest.

    Those of length 0 stay out.
    """
    batch: list[int] = []
    for index in sorted((index for index, length in enumerate(lengths) if length), key=lambda index: lengths[index]):
        if batch and (len(batch) + 1) * lengths[index] > BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
