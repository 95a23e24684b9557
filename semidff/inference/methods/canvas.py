"""Canvases: parts of a frame, side by side in a small picture on which the detector runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from semidff.filter.links import overlaps

Size = tuple[int, int]
"""Height and width."""

Scale = tuple[float, float]
"""Factors of x and y."""

SHARES = 1 / 16, 1 / 8, 1 / 4
"""Sizes of canvases, as shares of the pixels of the network's input."""

GRAY = 114
"""Gray level between the windows, that of the padding of YOLO detectors."""

_STRIDE = 32  # of which the sides of a canvas are multiples
_GAP = 4  # pixels between windows
_CONTEXT = 1.2  # sides of a window, relative to those of its box, at least
# Pixels beside a box, at least; the same in strides of feature maps that are coarser than 8 pixels,
# in which the border of the window is seen from further away; and for each frame since the object
# was detected.
_MARGIN, _CELLS, _DRIFT = 5.0, 2.0, 1.5
_LARGEST = 128  # pixels of an object on the canvas; larger ones are reduced
_MOST = 40  # objects of a frame that are considered
_LEAST = 0.01  # of the largest gain: what is worth less is not looked at
_ENOUGH = 0.9  # of the gain of all objects, with which no larger canvas is used
_WORTH = 3.0  # times the gain, for which the largest canvas is used although it has not enough
_JOINED = 1.05  # pixels of a window that replaces two, relative to theirs together
_ALIKE = 0.7  # least ratio of the factors of windows that are joined
_CUT = 1.5  # pixels between a box and the border of its window, where it may go on
_SAME = 0.65  # IoU of boxes of one object in two windows


class Window(NamedTuple):
    """A part of a frame, its factor and its sides on the canvas.

    The factor is the size on the canvas relative to that in the network's input.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    factor: float
    width: int
    height: int

    @classmethod
    def of(cls, x1: int, y1: int, x2: int, y2: int, factor: float, scale: Scale) -> 'Window':
        sides = (x2 - x1) * scale[0] * factor, (y2 - y1) * scale[1] * factor
        return cls(x1, y1, x2, y2, factor, *(max(round(side), 1) for side in sides))


@dataclass
class Canvas:
    """Windows of a frame and their places, both (n, 4) xyxy, in pixels of frame and canvas."""

    size: Size
    frame_size: Size
    windows: np.ndarray
    places: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """The windows, which have no end at the borders of the frame."""
        borders = self._borders()
        return np.where(borders, np.array([-np.inf, -np.inf, np.inf, np.inf]), self.windows)

    def _borders(self) -> np.ndarray:
        height, width = self.frame_size
        return self.windows == [0, 0, width, height]

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Return the canvas (h, w, 3) of a frame (H, W, 3)."""
        canvas = np.full((*self.size, 3), GRAY, np.uint8)
        for (x1, y1, x2, y2), (left, top, right, bottom) in zip(
            self.windows, self.places, strict=True
        ):
            part, size = image[y1:y2, x1:x2], (right - left, bottom - top)
            way = cv2.INTER_AREA if size[0] < x2 - x1 else cv2.INTER_LINEAR
            canvas[top:bottom, left:right] = cv2.resize(part, size, interpolation=way)
        return canvas

    def locate(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes (n, 4) of the canvas in the frame, their windows (n,), and which are whole.

        A box belongs to the window that has its center. It is whole if the window does not cut it.
        """
        center = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        within = (center >= self.places[:, :2]) & (center < self.places[:, 2:])
        number, is_in_window = within.all(-1).argmax(1), within.all(-1).any(1)
        place, window = self.places[number], self.windows[number]
        boxes = np.clip(boxes, np.tile(place[:, :2], 2), np.tile(place[:, 2:], 2))
        cut = (np.abs(boxes - place) < _CUT) & ~self._borders()[number]
        scale = (window[:, 2:] - window[:, :2]) / (place[:, 2:] - place[:, :2])
        boxes = np.tile(window[:, :2], 2) + (boxes - np.tile(place[:, :2], 2)) * np.tile(scale, 2)
        return boxes, number, is_in_window & ~cut.any(1)

    def whole(
        self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which detections of the canvas are those of the frame, by descending score; their
        boxes in the frame; and their windows. An object in two windows is one detection.
        """
        located, number, is_whole = self.locate(boxes)
        order = np.argsort(-scores, kind='stable')
        order = order[is_whole[order]]
        located, number, labels = located[order], number[order], labels[order]
        again = (overlaps(located, located) >= _SAME) & (labels[:, None] == labels)
        again &= number[:, None] != number
        kept = np.ones(len(order), bool)
        for one in np.flatnonzero(again.any(1)):
            if kept[one]:
                kept[one + 1 :] &= ~again[one, one + 1 :]
        return order[kept], located[kept], number[kept]


def canvas_sizes(inputs: Size) -> list[Size]:
    """Return the sizes of canvases, in ascending order, for a network's input."""
    sizes = []
    for share in SHARES:
        pixels = share * inputs[0] * inputs[1]
        height = max(round(math.sqrt(pixels) / _STRIDE), 1) * _STRIDE
        sizes.append((height, max(round(pixels / height / _STRIDE), 1) * _STRIDE))
    return list(dict.fromkeys(sizes))


def margins_of(ages: np.ndarray, stride: float) -> np.ndarray:
    """Return the least numbers of pixels between boxes and the borders of their windows, (n,).

    Args:
        ages: (n,), frames since the objects were detected.
        stride: That of the detector's finest feature map.
    """
    return (_CELLS * stride if stride > 8 else _MARGIN) + _DRIFT * ages


def lay_out(
    boxes: np.ndarray,
    gains: np.ndarray,
    margins: np.ndarray,
    scale: Scale,
    frame_size: Size,
    sizes: Sequence[Size],
) -> Canvas | None:
    """Lay out windows around objects on the smallest canvas that has nearly all of the gain.

    If none has it, as in scenes with many objects, the canvas is the second largest one, unless the
    largest one has several times its gain. What does not fit is left out, objects of the least gain
    first.

    Args:
        boxes: (n, 4), xyxy, in pixels of the frame.
        gains: (n,), what it is worth to look at an object.
        margins: (n,), from :func:`margins_of`.
        scale: From the frame to the network's input.
        frame_size: Height and width of the frame.
        sizes: Of the canvases, ascending.

    Returns:
        None if nothing fits.
    """
    wanted = []
    for one in np.argsort(-gains, kind='stable')[:_MOST].tolist():
        window = _window(boxes[one].tolist(), float(margins[one]), scale, frame_size, sizes[-1])
        if window and gains[one] >= _LEAST * gains.max():
            wanted.append((window, float(gains[one])))
    total, canvases = sum(gain for _, gain in wanted), []
    for size in sizes:
        chosen, gained, canvas = [], 0.0, None
        for window, gain in wanted:
            windows = _joined(chosen, window, scale, sizes[-1])
            if (places := _pack(windows, size)) is not None:
                chosen, gained = windows, gained + gain
                canvas = Canvas(size, frame_size, np.array([one[:4] for one in windows]), places)
        if gained >= _ENOUGH * total:
            return canvas
        canvases.append((gained, canvas))
    (less, smaller), (most, largest) = [canvases[0], *canvases][-2:]
    return largest if most > _WORTH * less else smaller


def _window(
    box: Sequence[float], margin: float, scale: Scale, frame_size: Size, largest: Size
) -> Window | None:
    """Return the window around a box, which fits into the largest canvas; None outside of the
    frame.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    factor = min(1.0, _LARGEST / max(width * scale[0], height * scale[1], 1.0))
    around = (
        max((_CONTEXT - 1) / 2 * side, margin / (factor * each))
        for side, each in zip((width, height), scale, strict=True)
    )
    beside, above = around
    x1, x2 = max(math.floor(x1 - beside), 0), min(math.ceil(x2 + beside), frame_size[1])
    y1, y2 = max(math.floor(y1 - above), 0), min(math.ceil(y2 + above), frame_size[0])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return None
    fitting = largest[1] / ((x2 - x1) * scale[0]), largest[0] / ((y2 - y1) * scale[1])
    return Window.of(x1, y1, x2, y2, min(factor, *fitting), scale)


def _joined(windows: list[Window], new: Window, scale: Scale, largest: Size) -> list[Window]:
    """Return the windows with a new one, joined with others if this needs hardly more pixels."""
    for index, other in enumerate(windows):
        factor = min(new.factor, other.factor)
        if factor < _ALIKE * max(new.factor, other.factor):
            continue
        corners = *map(min, new[:2], other[:2]), *map(max, new[2:4], other[2:4])
        union = Window.of(*corners, factor, scale)
        pixels = new.width * new.height + other.width * other.height
        fits = union.width <= largest[1] and union.height <= largest[0]
        if fits and union.width * union.height <= _JOINED * pixels:
            others = [*windows[:index], *windows[index + 1 :]]
            return _joined(others, union, scale, largest)
    return [*windows, new]


def _pack(windows: Sequence[Window], size: Size) -> np.ndarray | None:
    """Place windows on shelves; return (n, 4) xyxy, or None if they do not fit."""
    if sum(one.width * one.height for one in windows) > size[0] * size[1]:
        return None
    left = top = shelf = 0
    places = np.zeros((len(windows), 4), int)
    for one in sorted(range(len(windows)), key=lambda one: -windows[one].height):
        width, height = windows[one].width, windows[one].height
        if left + width > size[1]:
            left, top, shelf = 0, top + shelf + _GAP, 0
        if left + width > size[1] or top + height > size[0]:
            return None
        places[one] = left, top, left + width, top + height
        left, shelf = left + width + _GAP, max(shelf, height)
    return places
