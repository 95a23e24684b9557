"""Result of a conversion of the original's parameters, and its description."""

from dataclasses import dataclass, field

from .network import Network

_KINDS = {
    ('feature_network', 'task_network', 'temporal'): 'DFF',
    ('feature_network', 'task_network'): 'R-FCN',
    ('feature_network', 'temporal'): "semi-DFF's regression step",
    ('backbone',): 'ImageNet classifier',
    ('flow_network',): 'FlowNet',
}
# Descriptions by form and by whether plain weights and copies agree.
_FORMS = {
    ('copies', True): "the training's, and the inference's as *_test; they agree",
    ('copies', False): "the inference's from *_test, divided by the deviations; the plain ones are "
    'of another training',
    ('inference', True): "the inference's, already multiplied by the deviations",
    ('training', True): "the training's",
}


@dataclass
class Converted:
    """A converted file of parameters.

    Attributes:
        content: The checkpoint (``meta``, ``state_dict``).
        parts: Parts of the network that were converted.
        network: Sizes of the network.
        form: Meaning of the box weights, see :mod:`~semidff.converters.mxnet.boxes`; None without box weights.
        agree: Whether plain box weights and their test copies agree.
        passed_over: Names in the file that were skipped.
    """

    content: dict
    parts: tuple[str, ...]
    network: Network
    form: str | None = None
    agree: bool = True
    passed_over: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Name of the network that the parts form."""
        return _KINDS.get(self.parts, ', '.join(self.parts))

    def lines(self, source: str, out: str) -> list[str]:
        """Return a report of the conversion of ``source`` to ``out``."""
        sizes = []
        if {'backbone', 'feature_network'} & {*self.parts}:
            sizes.append(f'ResNet-{self.network.depth}')
        if 'task_network' in self.parts:
            sizes.append(f'{self.network.classes - 1} classes')
        lines = [f'{source}: {self.kind} ({", ".join([*self.parts, *sizes])})']
        if self.form is not None:
            lines.append(f'box weights: {_FORMS[self.form, self.agree]}')
        if self.passed_over:
            more = ', ...' if len(self.passed_over) > 4 else ''
            lines.append(
                f'passed over: {len(self.passed_over)} ({", ".join(self.passed_over[:4])}{more})'
            )
        return [*lines, f'{out}: {len(self.content["state_dict"])} arrays']
