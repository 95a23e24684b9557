"""Size of a frame within the padded input of the networks."""

from mmdet.structures import DetDataSample


def frame_size(sample: DetDataSample) -> tuple[int, int]:
    """Return height and width of the resized frame without padding.

    ``img_shape`` alone does not tell, since mmcv's ``Pad`` sets it to the padded size: a resized
    frame has ``ori_shape`` and ``scale_factor`` (width, height), too.
    """
    height, width = sample.img_shape[:2]
    factors = sample.get('scale_factor')
    if not isinstance(factors, tuple | list) or not sample.get('ori_shape'):
        return height, width
    sides = zip(sample.ori_shape, (factors[1], factors[0]), strict=False)
    resized = [max(1, round(side * factor)) for side, factor in sides]
    return min(height, resized[0]), min(width, resized[1])
