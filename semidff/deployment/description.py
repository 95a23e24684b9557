"""What a runner must know of two exported graphs: a small json beside them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from semidff.utils.atomic_write import write_json

KEY, CURRENT, FILE = 'key.onnx', 'non_key.onnx', 'video_detector.json'
FORMAT = 1

Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class Description:
    """Inputs and outputs of the graphs, in the graphs' order, and what frames must look like.

    Attributes:
        shape: Height and width of the network's input, padding included.
        normalization: ``channels`` (``rgb`` or ``bgr``), ``mean`` and ``std`` per channel, ``pad_value`` (after
            normalizing, on the right and at the bottom).
        strides: Of the feature levels.
        classes: Class names, as far as known.
        key_inputs: Shapes by name, of ``key.onnx``.
        key_outputs: Likewise.
        non_key_inputs: Of ``non_key.onnx``; ``key_features_i`` are ``features_i`` of the key graph.
        non_key_outputs: Likewise.
        raw: Which outputs the detector's post-processing reads: its name for each, and the graphs' name.
        format: Version of this file.
    """

    shape: list[int]
    normalization: dict
    strides: list[int]
    classes: list[str]
    key_inputs: Shapes
    key_outputs: Shapes
    non_key_inputs: Shapes
    non_key_outputs: Shapes
    raw: dict[str, str]
    format: int = FORMAT

    def write(self, folder: str | Path) -> None:
        """Writes it beside the graphs."""
        write_json(asdict(self), Path(folder) / FILE, indent=2)

    @classmethod
    def read(cls, folder: str | Path) -> 'Description':
        """Reads what :meth:`write` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is something else.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f'{path}: there is no such file; tools/deployment/export_onnx.py writes it beside the graphs'
            )
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            if content['format'] != FORMAT:
                raise ValueError(f'its format is {content["format"]!r}, not {FORMAT}')
            return cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}: does not describe exported graphs ({type(error).__name__}: {error}); export again'
            ) from error


def shapes(maps: dict[str, Tensor]) -> Shapes:
    """Shapes of tensors by name."""
    return {name: list(tensor.shape) for name, tensor in maps.items()}


def normalization(preprocessor: nn.Module) -> dict:
    """What an mmdet data preprocessor does to a frame (blue, green, red; 0 to 255)."""
    # `_channel_conversion` is private; no public method of mmengine's class tells it.
    flips = bool(getattr(preprocessor, '_channel_conversion', False))
    mean, std = (
        getattr(preprocessor, name).flatten().tolist()
        if hasattr(preprocessor, name)
        else [value] * 3
        for name, value in (('mean', 0.0), ('std', 1.0))
    )
    pad_value = getattr(preprocessor, 'pad_value', 0)
    return dict(channels='rgb' if flips else 'bgr', mean=mean, std=std, pad_value=pad_value)
