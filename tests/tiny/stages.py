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
    """Return the results of several streams, given the batches of each turn by the number of their stream."""
    work, streams = stages.together(), {}
    for turn in turns:
        for number, batch in turn.items():
            if number not in streams:
                feed: deque[Frame] = deque()
                scheduled = stages.schedule(iter(feed.popleft, None))
                streams[number] = feed, scheduled, work.open(), stages.new_follow(), []
            feed, scheduled, detection, *_ = streams[number]
            feed.append(frame_of(batch))
            detection.push(next(scheduled))
        work.work()
        for _, _, detection, follow, found in streams.values():
            found += [one for frame in detection.finished() for one in follow.push(frame)]
    for _, _, detection, follow, found in streams.values():
        detection.end()
        work.work()
        found += [one for frame in detection.finished() for one in follow.push(frame)]
        found += follow.flush()
    return [[frame.sample for frame in streams[number][-1]] for number in sorted(streams)]


def live(stages: Stages, batches: Iterable[dict]) -> SampleList:
    """Return the results of a video, of which each frame is detected by itself."""
    return results(stages, batches, chunk=1)
