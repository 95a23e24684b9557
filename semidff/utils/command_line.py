"""Command lines made of the signatures and docstrings of functions.

``f(a, *, b_c=1)`` has the positional argument ``a`` and the option ``--b-c``; without a ``*``, all
parameters are options. The texts of ``Args:`` are their help.

| type | command line |
|---|---|
| ``bool``; ``bool | None`` | ``--b``; ``--b`` or ``--no-b`` |
| ``str``, ``int``, ``float``, :data:`Count`, ``Literal`` | a value |
| ``str | bool`` | a value; True without a value |
| ``Sequence``; ``tuple`` | values, also of a repeated option; as many values as types |
| ``dict[str, str]``; ``dict`` | ``KEY=VALUE ...``; the same with values as mmengine reads them |
| :data:`Input`, :data:`Checkpoint` | a path |
| :data:`Output` | a path; an existing output needs ``--overwrite`` |
| a class | an option for each field or parameter; keywords for a ``**`` parameter |

Parameters of other types have no option; of two of one name, the first has. The source of the
function is read instead of imported: PyTorch and mmdetection would delay the help and errors of
usage by seconds.
"""

import argparse
import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from .error_messages import FileError
from .files import check_outputs

_ROOT = Path(__file__).resolve().parents[2]
Input = str | Path
Checkpoint = str | Path
"""An input that can run code."""
Output = str | Path
"""A file, or a folder of nothing but results."""
Count = int
"""At least 1."""

_PATHS = ('Input', 'Checkpoint', 'Output')
_SECTION = re.compile(r'^(?:Args|Attributes|Returns|Raises):$', re.MULTILINE)
_ENTRY = re.compile(r'^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)', re.MULTILINE)


def parse(target: str | dict[str, str], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line, and as ``command`` the parser of the function.

    An output that is an input, or that exists without ``--overwrite``, is an error of usage.
    """
    if isinstance(target, str):
        parser = CommandParser(target)
    else:
        parser = argparse.ArgumentParser()
        kinds = parser.add_subparsers(required=True, metavar='COMMAND', parser_class=CommandParser)
        for name, function in target.items():
            kinds.add_parser(name, target=function, help=_summary(_definition(function)[1]))
    # launchers give --local_rank
    arguments = [re.sub('^--[^=]+', lambda m: m[0].replace('_', '-'), a) for a in arguments]
    options = vars(parser.parse_args(arguments))
    command, outputs, inputs = options['command'], [], []
    for name, kind in command.paths.items():
        value = options.get(name)
        paths = value if isinstance(value, list) else [value]
        (outputs if kind == 'Output' else inputs).extend(p for p in paths if isinstance(p, str))
    try:
        check_outputs(outputs, inputs, options.get('overwrite', False))
    except FileError as error:
        command.error(str(error))
    return options


class CommandParser(argparse.ArgumentParser):
    """Parser of the command line of a function.

    Attributes:
        names: Parameters and fields that have options.
        paths: Types of files by name.
        groups: Class and names of the fields by parameter.
        settings: Options with ``KEY=VALUE``, and what reads them.
    """

    def __init__(self, target: str, **options: Any) -> None:
        module, function = _definition(target)
        super().__init__(
            description=_summary(function), argument_default=argparse.SUPPRESS, **options
        )
        self.set_defaults(command=self)
        self.target, self.names = target, []
        self.paths, self.groups, self.settings = {}, {}, {}
        self._add_all(module, function)
        self._flag('debug', 'show the traceback of an error, and the whole log of mmengine')
        if 'device' in self.names:
            self.add_argument('--threads', type=int, help='CPU threads (default: idle cores)')
        if 'Checkpoint' in ast.unparse(function.args):
            self._flag('trust', 'load checkpoints that can run code; only if you trust them')
        if 'Output' in self.paths.values():
            self._flag('overwrite', 'replace existing outputs')

    def _flag(self, name: str, help: str) -> None:
        if name not in self.names:
            self.add_argument(f'--{name}', action='store_true', help=help)

    def _add_all(self, module: str, node: ast.FunctionDef | ast.ClassDef) -> None:
        entries = reversed(_ENTRY.findall(ast.get_docstring(node)))  # of two, the first remains
        texts = {name: _plain(text) for several, text in entries for name in several.split(', ')}
        for name, annotation, default, positional in _parameters(node):
            kinds, first = [k for k in annotation.split(' | ') if k != 'None'], len(self.names)
            if kinds == [annotation] and (group := _definition(f'{module}.{annotation}')):
                self._add_all(*group)
                self.groups[name] = f'{group[0]}.{group[1].name}', self.names[first:]
            elif name in self.names:
                continue
            elif options := self._options(name, kinds):
                values = _values(default)
                self.names.append(name)
                help = texts.get(name, '').removesuffix('.')
                if any(values) and 'default' not in help.lower():
                    help += f' (default: {" ".join(map(str, values))})'
                options['help'] = help.replace('%', '%%')
                if positional:
                    del options['action']
                    if annotation.endswith('| None'):
                        options |= dict(nargs='?', default=None)
                    self.add_argument(name, **options)
                    continue
                option = name.replace('_', '-')
                self.add_argument(f'--{option}', required=default is None, **options)
                if options['action'] == 'store_true' and values != [False]:
                    self.add_argument(f'--no-{option}', dest=name, action='store_false')

    def _options(self, name: str, kinds: Sequence[str]) -> dict[str, Any]:
        """Return the options of ``add_argument``; none for types without an option."""
        kind, _, inner = kinds[0].removesuffix(']').partition('[')
        if kind == 'bool':
            return dict(action='store_true')
        if kind == 'Literal':
            return dict(action='store', choices=ast.literal_eval(f'({inner},)'))
        if kind == 'dict':
            self.settings[name] = _split if inner else parse_settings
            return dict(type=_setting, nargs='+', action='extend', metavar='KEY=VALUE')
        if kind in ('Sequence', 'tuple'):
            parts = inner.split(', ') if kind == 'tuple' else [inner]
            options = self._options(name, parts[:1])
            count = dict(nargs=len(parts)) if kind == 'tuple' else dict(nargs='+', action='extend')
            return options and options | count
        if kind not in _VALUES:
            return {}
        if kind in _PATHS:
            self.paths[name] = kind
        optional = dict(nargs='?', const=True) if 'bool' in kinds else {}
        return dict(action='store', type=_VALUES[kind], **optional)

    def call(self, options: dict[str, Any]) -> Any:
        """Import the function and call it."""
        options = {name: options[name] for name in self.names if name in options}
        for name, read in self.settings.items():
            if name in options:
                options[name] = read(options[name])
        for name, (kind, fields) in self.groups.items():
            given = {field: options.pop(field) for field in fields if field in options}
            options |= given if name == '**' else {name: _load(kind)(**given)}
        return _load(self.target)(**options)


def _definition(name: str) -> tuple[str, Any] | None:
    """Return module and source of a function or class of this package; None for other names."""
    module, _, name = name.rpartition('.')
    file = _ROOT.joinpath(*module.split('.'))
    package = module if file.is_dir() else module.rpartition('.')[0]
    for node in _statements(file / '__init__.py' if file.is_dir() else file.with_suffix('.py')):
        if getattr(node, 'name', None) == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            source = resolve_name('.' * node.level + (node.module or ''), package)
            return _definition(f'{source}.{name}')
    return None


@cache
def _statements(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text()).body if file.is_file() else []


def _load(target: str) -> Any:
    module, _, name = target.rpartition('.')
    return getattr(import_module(module), name)


def _parameters(node: ast.FunctionDef | ast.ClassDef) -> Iterator[tuple]:
    """Yield name, type, default and whether it is positional of each parameter or field."""
    is_class = isinstance(node, ast.ClassDef)
    for field in node.body if is_class else ():
        if isinstance(field, ast.AnnAssign):
            yield field.target.id, ast.unparse(field.annotation), field.value, False
        if getattr(field, 'name', '') == '__init__':
            node = field
    if isinstance(node, ast.ClassDef):
        return
    arguments = node.args
    ahead, further = arguments.args[is_class:], arguments.kwonlyargs
    missing = [None] * (len(ahead) - len(arguments.defaults))
    defaults = missing + arguments.defaults + arguments.kw_defaults
    for each, default in zip(ahead + further, defaults, strict=True):
        positional = bool(further) and each in ahead and not is_class
        yield each.arg, ast.unparse(each.annotation), default, positional
    if arguments.kwarg:
        yield '**', ast.unparse(arguments.kwarg.annotation), None, False


def _values(default: ast.expr | None) -> list:
    """Return the value or the values of a default; none if it is no literal."""
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return []
    return list(value) if isinstance(value, tuple) else [value]


def _summary(node: ast.FunctionDef) -> str:
    return _plain(_SECTION.split(ast.get_docstring(node))[0])


def _plain(text: str) -> str:
    """Return text of a docstring without markup and line breaks."""
    text = re.sub(r':\w+:`~?(?:[\w.]*\.)?(\w+)`', r'\1', text).replace('``', '')
    return ' '.join(text.split())


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is below 1')
    return int(text)


def _setting(text: str) -> str:
    if '=' not in text[1:]:
        raise argparse.ArgumentTypeError(f'{text}: expected KEY=VALUE')
    return text


def _split(settings: Sequence[str]) -> dict[str, str]:
    return dict(setting.split('=', 1) for setting in settings)


_VALUES = dict(str=str, int=int, float=float, Count=_count) | dict.fromkeys(_PATHS, str)


def parse_settings(settings: Sequence[str]) -> dict:
    """Return the settings of ``KEY=VALUE`` texts, as mmengine reads them."""
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument('--settings', nargs='+', action=DictAction)
    return parser.parse_args(['--settings', *settings]).settings
