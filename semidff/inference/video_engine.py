"""Stages over collated test batches, for measurements."""

from collections.abc import Iterable, Iterator
from typing import Any

from mmdet.structures import DetDataSample, SampleList

from semidff.datasets.video_readers import Frame

from .point import Point
from .stages import Stages


class VideoEngine(Stages):
    """Stages with the settings of a :class:`Point`, over collated test batches of one frame in place of frames."""

    def __init__(
        self,
        model: Any,
        method: str = 'propagate',
        key_interval: int = 10,
        schedule: Any = None,
        keep_fields: bool = False,
        filter: str | None = None,
        light_every: int = 1,
    ) -> None:
        point = Point(method, key_interval, light_every=light_every, filter=filter)
        super().__init__(model, point, schedule, keep_fields)
        self._pushed: list[Frame] = []
        self._live = super().run(iter(self._next, None), chunk=1)

    def run(
        self, batches: Iterable[dict], workers: int = 1, chunk: int | None = None
    ) -> Iterator[DetDataSample]:
        for frame in super().run(map(frame_of, batches), workers, chunk):
            yield frame.sample

    def push(self, batch: dict) -> SampleList:
        """Return the result of the next frame of a live video; of a causal method."""
        self._pushed.append(frame_of(batch))
        return [next(self._live).sample]

    def _next(self) -> Frame | None:
        return self._pushed.pop() if self._pushed else None


def frame_of(batch: dict) -> Frame:
    """Return the frame of a collated test batch, with its gray ``picture`` if there is one."""
    (inputs,), (sample,) = batch['inputs'], batch['data_samples']
    image = inputs.permute(1, 2, 0).cpu().numpy()
    return Frame(
        image,
        sample.get('frame_id', 0),
        sample.get('timestamp'),
        after_gap=sample.get('after_gap'),
        dropped=sample.get('dropped', 0),
        inputs=inputs,
        sample=sample,
        picture=batch.get('picture', [None])[0],
    )
