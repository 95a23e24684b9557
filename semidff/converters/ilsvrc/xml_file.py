"""Reader of XML annotation files of ImageNet DET and VID."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from semidff.utils.tool_files import FileError, check_regular


@dataclass(frozen=True)
class XMLObject:
    """An annotated object.

    Attributes:
        wnid: WordNet id of its class.
        box: xmin, ymin, xmax, ymax as in the file, in pixels, the last ones inclusive.
        track_id: Number of the object in its video; None in DET.
        occluded: Whether it is marked as occluded.
        generated: Whether the annotation tool interpolated its box.
    """

    wnid: str
    box: tuple[float, float, float, float]
    track_id: int | None
    occluded: bool
    generated: bool


@dataclass(frozen=True)
class XMLFrame:
    """Content of an annotation file: image size in pixels and objects in the order of the file."""

    width: int
    height: int
    objects: tuple[XMLObject, ...]


def read_xml(path: str | Path) -> XMLFrame:
    """Read an annotation file.

    Raises:
        ValueError: If it is missing, not XML, or incomplete. The message does not name the file.
    """
    try:
        check_regular(path)
        root = ET.parse(path).getroot()
    except FileNotFoundError:
        raise ValueError('missing') from None
    except FileError:
        raise ValueError('a pipe, socket or device') from None
    except (ET.ParseError, UnicodeError, LookupError) as error:
        raise ValueError(f'not XML: {error}') from None
    except OSError as error:
        raise ValueError(f'not readable: {error.strerror}') from None
    width, height = (int(_number(root, f'size/{side}')) for side in ('width', 'height'))
    if width <= 0 or height <= 0:
        raise ValueError(f'image size is {width} x {height}')
    return XMLFrame(width, height, tuple(map(_read_object, root.iter('object'))))


def _read_object(node: ET.Element) -> XMLObject:
    name = (node.findtext('name') or '').strip()
    if not name:
        raise ValueError('an object has no <name>')
    xmin, ymin, xmax, ymax = (
        _number(node, f'bndbox/{side}') for side in ('xmin', 'ymin', 'xmax', 'ymax')
    )
    if xmin < -1 or ymin < -1 or xmax < xmin or ymax < ymin:
        raise ValueError(f'<object> {name} has the box {xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}')
    track = None if node.find('trackid') is None else int(_number(node, 'trackid'))
    occluded, generated = (
        node.find(flag) is not None and _number(node, flag) != 0
        for flag in ('occluded', 'generated')
    )
    return XMLObject(name, (xmin, ymin, xmax, ymax), track, occluded, generated)


def _number(node: ET.Element, path: str) -> float:
    """Return the finite number at ``path`` below a node."""
    text = node.findtext(path)
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise ValueError(f'<{node.tag}> has {path} {text!r}, not a number') from None
    if not abs(value) < 1e9:
        raise ValueError(f'<{node.tag}> has {path} {text!r}, not a coordinate')
    return value
