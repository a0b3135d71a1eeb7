"""Arrays that grow at their end."""

from __future__ import annotations

from typing import Any

import numpy as np


class Column:
    """A numpy array with room to grow; `width` makes it a matrix of that many columns."""

    def __init__(self, kind: Any, width: int | None = None) -> None:
        self._data = np.zeros((0,) if width is None else (0, width), kind)
        self.size = 0

    @property
    def values(self) -> np.ndarray:
        return self._data[: self.size]

    def extend(self, items: Any) -> None:
        end = self.size + len(items)
        if end > len(self._data):
            grown = np.zeros((max(end, len(self._data) * 5 // 4, 64), *self._data.shape[1:]), self._data.dtype)
            grown[: self.size] = self.values
            self._data = grown
        self._data[self.size : end] = items
        self.size = end
