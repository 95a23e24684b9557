"""State of a stream of frames."""

import copy
from dataclasses import dataclass, field
from typing import Any


@dataclass
class StreamState:
    """State of a stream, created by :meth:`~semidff.inference.VideoEngine.open`.

    Its size is constant (offline methods keep the frames since the last key frame), and it holds no part of the
    model: any number of streams share one engine.

    Attributes:
        index: Number of frames processed since the stream began.
        distance: Distance of the next frame to the last key frame; 0 without a key frame.
        size: Shapes of the last frame, as input of the network and originally; None at first.
        memory: State of the method; for *propagate*, the key frame's image and features.
        notes: State of the schedule.
        smoother: State of the smoothing of scores; None without smoothing.
    """

    index: int = 0
    distance: int = 0
    size: tuple | None = None
    memory: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
    smoother: Any = None

    def snapshot(self) -> 'StreamState':
        """Return an independent copy, from which the stream can be continued later.

        It can be pickled (``torch.save``) and continued by another engine with the same method and model.
        """
        return copy.deepcopy(self)
