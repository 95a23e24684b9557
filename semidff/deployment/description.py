"""Description of two exported graphs: a small JSON file next to them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from semidff.utils.atomic_write import write_json

KEY, NON_KEY, FILE = 'key.onnx', 'non_key.onnx', 'video_detector.json'
FORMAT = 2

Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class Description:
    """Inputs and outputs of the graphs, in the graphs' order, and the preprocessing of frames.

    Attributes:
        shape: Height and width of the network's input, padding included.
        normalization: ``channels`` (``rgb`` or ``bgr``), ``mean`` and ``std`` per channel of frames in 0 to 255,
            ``pad_value`` (after normalization, on the right and at the bottom).
        strides: Strides of the feature levels.
        classes: Class names; empty if unknown.
        key_inputs: Shapes of the inputs of ``key.onnx``, by name.
        key_outputs: Shapes of its outputs.
        non_key_inputs: Shapes of the inputs of ``non_key.onnx``; its ``key_features_i`` are ``features_i`` of
            ``key.onnx``.
        non_key_outputs: Shapes of its outputs.
        raw: Name in the graphs of each output that the detector's post-processing reads, by the detector's name.
        format: Version of this file; 1 had other names for non-key frames and the normalization.
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

    @staticmethod
    def path(folder: str | Path) -> Path:
        """Return the file, without which the graphs of the folder are not read."""
        return Path(folder) / FILE

    def write(self, folder: str | Path) -> None:
        write_json(asdict(self), self.path(folder), indent=2)

    @classmethod
    def is_in(cls, folder: str | Path) -> bool:
        """Return whether a folder has an export."""
        try:
            cls.read(folder)
        except (OSError, ValueError):
            return False
        return True

    @classmethod
    def read(cls, folder: str | Path) -> 'Description':
        """Read the file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or has another format.
        """
        path = cls.path(folder)
        if not path.is_file():
            raise FileNotFoundError(
                f'{path}: there is no such file; tools/export_onnx.py writes it next to the graphs'
            )
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            if content['format'] != FORMAT:
                raise ValueError(
                    f'its format is {content["format"]!r}, that of another version of this package; this version '
                    f'reads format {FORMAT}'
                )
            return cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}: does not describe exported graphs ({type(error).__name__}: {error}); export the model again'
            ) from error
