"""Export of a video detector's two graphs as ONNX files, with their description."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from semidff.checkpoints.detectors import test_datasets, transform_name
from semidff.checkpoints.read import weights_digest
from semidff.inference.executors.exported import FILE, KEY, NON_KEY, Description, check_exportable
from semidff.inference.executors.onnx_export import ExportError, export_graph
from semidff.models import VideoDetector
from semidff.models.graphs import KeyGraph, NonKeyGraph
from semidff.models.spatial.head_family import levels, numbered
from semidff.utils.atomic_write import atomic_write


@torch.no_grad()
def export_onnx(
    model: VideoDetector,
    folder: str | Path,
    shape: Sequence[int],
    classes: Sequence[str] = (),
    boxes: bool = True,
) -> Description:
    """Write ``key.onnx``, ``non_key.onnx`` and ``video_detector.json``.

    Args:
        model: A video detector with temporal module; it is put into eval mode.
        shape: Height and width of the frames behind the test pipeline.
        boxes: Whether the post-processing is part of the graphs, where it can be exported.

    Returns:
        The content of ``video_detector.json``.
    """
    check_exportable(model)
    if model.temporal is None:
        raise ExportError(
            'the model has no temporal module, so there is no graph for non-key frames; give a '
            'config of stage two'
        )
    if not model.temporal.state_dict():
        network = type(getattr(model.temporal, 'flow_network', model.temporal)).__name__
        raise ExportError(
            f'the temporal module has no weights ({network}): its flow is computed outside of '
            'PyTorch'
        )
    model.eval()
    failed = None
    for with_boxes, count in ((True, 2), (False, 2), (False, 1))[not boxes :]:
        try:
            graphs, raw = _export(model, shape, with_boxes, count)
            break
        except ExportError as error:
            failed = failed or error
    else:
        raise failed
    inputs, outputs = ([one[index] for one in graphs.values()] for index in (1, 2))
    description = Description(
        shape=list(shape),
        dtype=str(inputs[0]['frame'].dtype).removeprefix('torch.'),
        pipeline=_steps(model),
        strides=list(getattr(model.temporal, 'feat_strides', ())),
        classes=list(classes),
        key_inputs=_shapes(inputs[0]),
        key_outputs=_shapes(outputs[0]),
        non_key_inputs=_shapes(inputs[1]),
        non_key_outputs=_shapes(outputs[1]),
        raw=raw,
        weights=weights_digest(model.state_dict()),
    )
    folder = Path(folder)
    (folder / FILE).unlink(missing_ok=True)  # graphs of two models would fit together
    for name, (content, *_) in graphs.items():
        # One file with the weights; protobuf is limited to 2 GB.
        with atomic_write(folder / name, binary=True) as file:
            file.write(content)
    description.write(folder)
    return description


def _export(
    model: VideoDetector, shape: Sequence[int], with_boxes: bool, count: int
) -> tuple[dict[str, tuple[bytes, dict[str, Tensor], dict[str, Tensor]]], dict[str, str]]:
    """Return both graphs by file name, with example inputs and outputs; their raw outputs."""
    device = next(model.parameters()).device
    # Random example frames have no regularities that tracing could exploit.
    generator = torch.Generator().manual_seed(0)
    frame = torch.randint(256, (count, 3, *shape), generator=generator).to(device)
    frame = frame.byte() if hasattr(model.data_preprocessor, 'send') else frame.float()
    geometry = torch.tensor([[*shape, 1.0, 1.0]] * count, device=device)
    last = dict(geometry=geometry) if with_boxes else {}
    found, given = {}, dict(frame=frame)
    for name, kind in ((KEY, KeyGraph), (NON_KEY, NonKeyGraph)):
        graph, inputs = kind(model, with_boxes=with_boxes), given | last
        outputs = graph.named(*inputs.values())
        if with_boxes and 'boxes' not in outputs:
            raise ExportError('the post-processing has no fixed shape')
        content = export_graph(graph, inputs, batch=count > 1)
        found[name] = content, inputs, outputs
        if kind is KeyGraph:
            features = numbered('key_features', levels('features', outputs))
            given = dict(key_image=outputs['key_image'], frame=frame, **features)
    return found, graph.raw


def _shapes(maps: dict[str, Tensor]) -> dict[str, list]:
    count = [1 if len(next(iter(maps.values()))) == 1 else 'N']
    return {name: count + list(tensor.shape[1:]) for name, tensor in maps.items()}


def _steps(model: VideoDetector) -> dict:
    """Return the ``scale`` (w, h), ``keep_ratio`` and ``pad_value`` of the test pipeline."""
    steps = next(iter(test_datasets(getattr(model, 'cfg', {}))), {}).get('pipeline') or ()
    steps = {transform_name(step): step for step in steps}
    resize, pad = steps.get('Resize', {}), steps.get('Pad')
    value = None if pad is None else pad.get('pad_val', 0)
    return dict(
        scale=resize.get('scale'),
        keep_ratio=resize.get('keep_ratio', False),
        pad_value=value.get('img', 0) if isinstance(value, dict) else value,
    )
