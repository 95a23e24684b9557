"""What became of a file of the original's parameters, in data and in words."""

from dataclasses import dataclass, field

from .network import Network

_KINDS = {
    ('feature_network', 'task_network', 'temporal'): 'DFF',
    ('feature_network', 'task_network'): 'R-FCN',
    ('feature_network', 'temporal'): "semi-DFF's regression step",
    ('backbone',): 'ImageNet classifier',
    ('flow_network',): 'FlowNet',
}
_FORMS_IN_WORDS = {
    ('copies', True): "the training's, and the inference's as *_test; they agree",
    (
        'copies',
        False,
    ): "the inference's from *_test, divided by the deviations; the plain ones are of another training",
    ('inference', True): "the inference's, already multiplied by the deviations",
    ('training', True): "the training's",
}


@dataclass
class Converted:
    """What became of a file of parameters, or of a checkpoint on its way back.

    Attributes:
        content: The checkpoint (``meta``, ``state_dict``), or the arrays by their full names.
        parts: Parts of the network that were converted.
        network: Its sizes.
        form: What the box weights of the MXNet file mean, see :mod:`~semidff.converters.mxnet.boxes`; None without.
        agree: Whether plain box weights and their test copies agree.
        passed_over: Names that the file has beside the parts.
    """

    content: dict
    parts: tuple[str, ...]
    network: Network
    form: str | None = None
    agree: bool = True
    passed_over: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What the file is, in words."""
        return _KINDS.get(self.parts, ', '.join(self.parts))

    def lines(self, source: str, out: str) -> list[str]:
        """A report of a conversion from one file to another."""
        state = self.content.get('state_dict', self.content)
        sizes = [f'ResNet-{self.network.depth}'] * (
            {'backbone', 'feature_network'} & {*self.parts} != set()
        )
        sizes += [f'{self.network.classes - 1} classes'] * ('task_network' in self.parts)
        found = [f'{source}: {self.kind} ({", ".join([*self.parts, *sizes])})']
        if self.form is not None:
            found.append(f'box weights: {_FORMS_IN_WORDS[self.form, self.agree]}')
        if self.passed_over:
            more = ', ...' if len(self.passed_over) > 4 else ''
            found.append(
                f'passed over: {len(self.passed_over)} ({", ".join(self.passed_over[:4])}{more})'
            )
        return [*found, f'{out}: {len(state)} arrays']
