"""One XML annotation file of ImageNet DET or VID."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class XMLObject:
    """An annotated object.

    Attributes:
        wnid: WordNet id of its class.
        box: xmin, ymin, xmax, ymax as they stand in the file (inclusive pixels).
        track_id: Number in its video; None in DET.
        occluded: Whether it is marked as occluded.
        generated: Whether its box was interpolated by the annotation tool.
    """

    wnid: str
    box: tuple[float, float, float, float]
    track_id: int | None
    occluded: bool
    generated: bool


@dataclass(frozen=True)
class XMLFrame:
    """The content of an annotation file: image size in pixels, and objects in the file's order."""

    width: int
    height: int
    objects: tuple[XMLObject, ...]


def read_xml(path: str | Path) -> XMLFrame:
    """Reads an annotation file.

    Args:
        path: The XML file.

    Returns:
        Its content.

    Raises:
        ValueError: It is missing, is not XML, or lacks something; the message says what, without
            the file's name.
    """
    try:
        root = ET.parse(path).getroot()
    except FileNotFoundError:
        raise ValueError('missing') from None
    except (ET.ParseError, UnicodeError, LookupError) as error:
        raise ValueError(f'not XML: {error}') from None
    except OSError as error:
        raise ValueError(f'not readable: {error.strerror}') from None
    width, height = (int(_number(root, f'size/{side}')) for side in ('width', 'height'))
    if width <= 0 or height <= 0:
        raise ValueError(f'image size is {width} x {height}')
    return XMLFrame(width, height, tuple(map(_read_object, root.iter('object'))))


def _read_object(node: ET.Element) -> XMLObject:
    """One ``<object>``."""
    name = (node.findtext('name') or '').strip()
    if not name:
        raise ValueError('an object has no <name>')
    xmin, ymin, xmax, ymax = (
        _number(node, f'bndbox/{side}') for side in ('xmin', 'ymin', 'xmax', 'ymax')
    )
    track = None if node.find('trackid') is None else int(_number(node, 'trackid'))
    occluded, generated = (
        node.find(flag) is not None and _number(node, flag) != 0
        for flag in ('occluded', 'generated')
    )
    return XMLObject(name, (xmin, ymin, xmax, ymax), track, occluded, generated)


def _number(node: ET.Element, path: str) -> float:
    """The finite number at ``path`` under a node."""
    text = node.findtext(path)
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise ValueError(f'<{node.tag}> has {path} {text!r}, not a number') from None
    if not abs(value) < 1e9:
        raise ValueError(f'<{node.tag}> has {path} {text!r}, not a coordinate')
    return value
