"""Export of a video detector's two graphs as ONNX with PyTorch's exporter (``torch.export``, not TorchScript).

The size of frames is fixed at export: the warp embeds features in a map whose sides are the next powers of two, and
the flow network crops its maps to the sizes of others.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor

from semidff.inference.executors.exported import FILE, KEY, NON_KEY, Description
from semidff.models import VideoDetector
from semidff.models.data_preprocessor import normalization
from semidff.models.graphs import Graph, KeyGraph, NonKeyGraph
from semidff.models.precision import COMPILED_OPERATORS
from semidff.models.spatial.head_family import levels, numbered
from semidff.utils.atomic_write import atomic_write

OPSET = 19  # the warp needs GridSample, which exists since 16


class ExportError(RuntimeError):
    """A model that cannot be exported."""


@torch.no_grad()
def export_onnx(
    model: VideoDetector, folder: str | Path, shape: Sequence[int], classes: Sequence[str] = ()
) -> Description:
    """Write ``key.onnx``, ``non_key.onnx`` and ``video_detector.json``.

    Args:
        model: A video detector with temporal module; it is put into eval mode.
        shape: Height and width of the network's input, padding included.

    Returns:
        The content of ``video_detector.json``.
    """
    if model.spatial.prediction != 'pred_instances':
        raise ExportError(
            f'this model predicts {model.spatial.prediction}; only detectors are exported'
        )
    if model.temporal is None:
        raise ExportError(
            'the model has no temporal module, so there is no graph for non-key frames; give a config of stage two'
        )
    if not model.temporal.state_dict():
        network = type(getattr(model.temporal, 'flow_network', model.temporal)).__name__
        raise ExportError(
            f'the temporal module has no weights ({network}): its flow is computed outside of PyTorch'
        )
    model.eval()
    device = next(model.parameters()).device
    # A random example frame has no regularities that tracing could exploit.
    generator = torch.Generator().manual_seed(0)
    frame = torch.randn((1, 3, *shape), generator=generator).to(device)
    key_graph, non_key_graph = KeyGraph(model), NonKeyGraph(model)
    key = key_graph.named(frame)
    features = levels('features', key)
    inputs = dict(key_image=key['key_image'], frame=frame, **numbered('key_features', features))
    non_key = non_key_graph.named(*inputs.values())
    preprocessor = model.data_preprocessor

    def shapes(maps: dict[str, Tensor]) -> dict[str, list[int]]:
        return {name: list(tensor.shape) for name, tensor in maps.items()}

    description = Description(
        shape=list(shape),
        normalization=dict(
            normalization(preprocessor), pad_value=getattr(preprocessor, 'pad_value', 0)
        ),
        strides=list(getattr(model.temporal, 'feat_strides', ())),
        classes=list(classes),
        key_inputs=shapes(dict(frame=frame)),
        key_outputs=shapes(key),
        non_key_inputs=shapes(inputs),
        non_key_outputs=shapes(non_key),
        raw=non_key_graph.raw_names(features),
    )
    folder = Path(folder)
    (folder / FILE).unlink(missing_ok=True)  # graphs of two models would fit together
    _write(key_graph, dict(frame=frame), list(key), folder / KEY)
    _write(non_key_graph, inputs, list(non_key), folder / NON_KEY)
    description.write(folder)
    return description


def _write(graph: Graph, inputs: dict[str, Tensor], outputs: list[str], path: Path) -> None:
    with warnings.catch_warnings():
        # PyTorch's exporter warns about PyTorch's own code.
        warnings.simplefilter('ignore')
        try:
            program = torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            text = f'{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}'
            kinds = {type(module) for module in graph.modules()}
            # RoIs are pooled behind the graph.
            names = sorted(
                kind.__name__
                for kind in kinds
                if issubclass(kind, COMPILED_OPERATORS)
                and not issubclass(kind, BaseRoIExtractor | RoIAlign)
            )
            if names:
                text = f'{", ".join(names)} call compiled operators of mmcv, which have no ONNX form ({text})'
            raise ExportError(f'{path.name}: PyTorch cannot export this model: {text}') from error
    # One file with the weights; protobuf is limited to 2 GB.
    with atomic_write(path, binary=True) as file:
        file.write(program.model_proto.SerializeToString())
