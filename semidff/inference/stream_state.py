"""All that is remembered of a stream of frames."""

import copy
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StreamState:
    """A place in a stream, made by :meth:`~semidff.inference.VideoEngine.open`.

    It does not grow with the stream (but for offline methods, which hold the frames of a window), and holds no part
    of the model: any number of streams share one engine.

    Attributes:
        index: Frames taken since the stream began.
        distance: Frames from the last key frame to the one that comes next; 0 where there is no key frame yet.
        size: Shapes of the frames so far, as the network gets them and as they were; None at first.
        memory: What the method remembers: for *propagate* the key frame's image and features.
        notes: What the schedule remembers.
    """

    index: int = 0
    distance: int = 0
    size: tuple | None = None
    memory: Any = None
    notes: dict[str, Any] = field(default_factory=dict)

    def snapshot(self) -> 'StreamState':
        """A copy to return to: what happens to this stream afterwards does not change it.

        It can be pickled (``torch.save``) and taken up by another engine of the same method and model.
        """
        return copy.deepcopy(self)
