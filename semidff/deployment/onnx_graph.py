"""One exported graph in onnxruntime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .packages import require


class OnnxGraph:
    """Runs an ONNX file on PyTorch tensors, which are copied through the CPU's memory.

    Args:
        path: The file.
        shapes: Shapes of its inputs, by name.
        providers: onnxruntime's execution providers, in order of preference.
        threads: Number of CPU threads; by default that of PyTorch.

    Raises:
        FileNotFoundError: If there is no such file.
        MissingPackageError: If onnxruntime is not installed.
        ValueError: If the file is damaged or has other inputs.
    """

    def __init__(
        self,
        path: str | Path,
        shapes: dict[str, Sequence[int]],
        providers: Sequence[str] = ('CPUExecutionProvider',),
        threads: int | None = None,
    ) -> None:
        self.path, self.shapes = Path(path), shapes
        runtime = require('onnxruntime')
        if not self.path.is_file():
            raise FileNotFoundError(f'{path}: there is no such file')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        try:
            self.session = runtime.InferenceSession(
                str(path), sess_options=options, providers=list(providers)
            )
        except Exception as error:  # onnxruntime has a dozen types without a common base
            raise ValueError(
                f'{path}: onnxruntime cannot open it ({type(error).__name__}: {error})'
            ) from error
        own = {graph_input.name: graph_input.shape for graph_input in self.session.get_inputs()}
        if own != {name: list(shape) for name, shape in shapes.items()}:
            raise ValueError(
                f'{path}: its inputs are {own}, not {shapes} as in the json file; export again'
            )
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the graph; return the outputs by name, on the inputs' device.

        Args:
            **inputs: Tensors with the graph's shapes except for the batch size N; the entries run one after the other.

        Raises:
            ValueError: If a tensor has another shape.
        """
        for name, shape in self.shapes.items():
            given = tuple(inputs[name].shape)
            if given[1:] != tuple(shape[1:]):
                raise ValueError(
                    f'{self.path.name}: {name} must have shape {("N", *shape[1:])}, got {given}. Graphs are exported '
                    'for one size of frames: resize the frames to it, or export again with another --shape'
                )
        device = next(iter(inputs.values())).device
        arrays = {n: tensor.float().contiguous().cpu().numpy() for n, tensor in inputs.items()}
        runs = [
            self.session.run(None, {n: array[i : i + 1] for n, array in arrays.items()})
            for i in range(len(next(iter(arrays.values()))))
        ]
        outputs = {
            name: entries[0] if len(entries) == 1 else np.concatenate(entries)
            for name, *entries in zip(self.outputs, *runs, strict=True)
        }
        return {name: torch.from_numpy(array).to(device) for name, array in outputs.items()}
