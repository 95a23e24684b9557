"""Stages over the tiny videos: the frames of collated batches, and results in place of frames."""

import copy
from collections import deque
from collections.abc import Iterable

from mmdet.structures import SampleList

from semidff.datasets.video_readers import Frame
from semidff.filter import picture_of
from semidff.inference import Point, Stages


def frame_of(batch: dict) -> Frame:
    """Return the prepared frame of a collated test batch of one frame."""
    (inputs,), (sample,) = batch['inputs'], batch['data_samples']
    image = inputs.permute(1, 2, 0).numpy()
    return Frame(
        image,
        sample.get('frame_id', 0),
        sample.get('timestamp'),
        after_gap=sample.get('after_gap'),
        dropped=sample.get('dropped', 0),
        inputs=inputs,
        sample=copy.deepcopy(sample),
        picture=picture_of(image) if image.shape[2] == 3 else None,
    )


def stages(
    model,
    method: str = 'propagate',
    key_interval: int = 10,
    schedule=None,
    keep_fields: bool = False,
    **point,
) -> Stages:
    """Return the stages of a model at a point."""
    return Stages(model, Point(method, key_interval, **point), schedule, keep_fields)


def results(
    stages: Stages, batches: Iterable[dict], workers: int = 1, chunk: int | None = None
) -> SampleList:
    """Return the results of a video, given as collated test batches of its frames."""
    return [frame.sample for frame in stages.run(map(frame_of, batches), workers, chunk)]


def together(stages: Stages, turns: Iterable[dict[int, dict]]) -> list[SampleList]:
    """Return the results of several streams, from the batches of each turn by stream number."""
    work, feeds, streams, found = stages.together(), {}, {}, {}

    def finish() -> None:
        for frame in work.work():
            found[frame.path].append(frame.sample)

    for turn in turns:
        for number, batch in turn.items():
            if number not in streams:
                feeds[number] = deque()
                streams[number] = work.open(iter(feeds[number].popleft, None))
                found[str(number)] = []
            feeds[number].append(frame := frame_of(batch))
            frame.path = str(number)
            streams[number].read()
        finish()
    for number, stream in streams.items():
        feeds[number].append(None)
        stream.read()
    finish()
    return [found[str(number)] for number in sorted(feeds)]


def live(stages: Stages, batches: Iterable[dict]) -> SampleList:
    """Return the results of a video, of which each frame is detected by itself."""
    return results(stages, batches, chunk=1)
