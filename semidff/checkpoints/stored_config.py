"""Configs in checkpoints, read as data: a checkpoint may come from a stranger."""

import ast
import re

import mmengine.registry.registry as mmengine_registry

from .safe import CheckpointError

# `type='mmdet.ResNet'` is a name in a registry. Names that no registry has are imported and called
# by mmengine, for configs that were written with imports; here only those that a stored config
# cannot have.
_TYPE = re.compile(r'((mmdet|mmengine|semidff)\.)?\w+')
_import = mmengine_registry.get_object_from_string
mmengine_registry.get_object_from_string = lambda n: None if _TYPE.fullmatch(n) else _import(n)
_SCOPES = (None, 'mmengine', 'mmdet', 'mmseg', 'semidff')
_NOT_DATA = (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError)
_CONSTANTS = {'inf': float('inf'), 'nan': float('nan')}


def parse_config(text: str, source: str) -> dict:
    """Evaluate a config of literals and calls of ``dict`` without running it.

    Refused is anything else, a ``type`` that is no name of a registry, a ``detector`` or a
    ``teacher_config`` that is the name of another config, and a scope of an unknown package, which
    mmengine would import. ``source`` is the checkpoint, for messages.
    """
    try:
        return _checked({n.targets[0].id: _value(n.value) for n in ast.parse(text).body})
    except _NOT_DATA as error:
        raise CheckpointError(
            f'{source}: the config in it is no plain data ({error}) and is not run; give the '
            'config file'
        ) from error


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        entries = {keyword.arg: _value(keyword.value) for keyword in node.keywords}
        return _checked(dict(*map(_value, node.args), **entries))
    if isinstance(node, ast.Dict):
        return _checked(
            {ast.literal_eval(k): _value(v) for k, v in zip(node.keys, node.values, strict=True)}
        )
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    return ast.literal_eval(node)


def _checked(entries: dict) -> dict:
    kind = entries.get('type')
    if kind is not None and not (isinstance(kind, str) and _TYPE.fullmatch(kind)):
        raise ValueError(f'type={kind!r} is no name of a registry')
    for name in ('detector', 'teacher_config'):
        if isinstance(entries.get(name), str):
            raise ValueError(f'{name}={entries[name]!r} names a file')
    # A tracker of mmdet evaluates this one.
    if not re.fullmatch(
        r'cv2\.MOTION_\w+', mode := entries.get('warp_mode', 'cv2.MOTION_EUCLIDEAN')
    ):
        raise ValueError(f'warp_mode={mode!r} is no motion model of OpenCV')
    for name in ('default_scope', '_scope_'):
        if entries.get(name) not in _SCOPES:
            raise ValueError(f'{name}={entries[name]!r} names an unknown package')
    return entries
