"""Random damage to annotations, XML, lists and MXNet files: every reader ends with its own error or a result.

The same examples in every run. ``SEMIDFF_FUZZ=10000 pytest tests/robustness/test_fuzz.py`` tries as many new ones.
"""

import json
import os
from pathlib import Path

import pytest

from semidff.converters.ilsvrc import read_video_image_set, read_xml
from semidff.converters.mxnet.params_file import MXNetFileError, read_params
from semidff.datasets.ilsvrc_format import read_detections
from semidff.datasets.vid_json import load_vid_json, match_classes, ordered_frames
from semidff.datasets.video_list import load_frames, load_videos
from semidff.utils.safe_loading import CheckpointError
from semidff.utils.stored_config import parse_config
from tests.robustness.test_tools import GOOD, PARAMS, ROWS, XML
from tests.test_datasets.test_vid_json import valid

hypothesis = pytest.importorskip('hypothesis', reason='make env installs it')
st = hypothesis.strategies
ROUNDS = int(os.environ.get('SEMIDFF_FUZZ', 150))
fuzz = hypothesis.settings(
    max_examples=ROUNDS,
    derandomize='SEMIDFF_FUZZ' not in os.environ,
    deadline=30_000,  # milliseconds for each example
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def annotations(path: Path) -> None:
    content = load_vid_json(str(path))
    match_classes(content, None, str(path))
    ordered_frames(content, str(path))


READERS = {
    'json': (annotations, json.dumps(valid()).encode(), ValueError),
    'xml': (read_xml, XML.format(**GOOD).encode(), ValueError),
    'set': (
        lambda path: read_video_image_set(path, path.parent),
        b'a/b 1 0 30\nc/d 31 0 5\n',
        ValueError,
    ),
    'detections': (lambda path: read_detections(path, 2), ROWS.encode() * 3, ValueError),
    'videos': (load_videos, b'a.mp4\n# comment\nb/*.mp4\n', ValueError),
    'frames': (load_frames, b'a 1 3 9\nb 7\n', ValueError),
    'params': (read_params, PARAMS, MXNetFileError),
    'stored config': (
        lambda path: parse_config(path.read_bytes().decode('latin-1'), str(path)),
        b"model = dict(type='A', b=[1, (2.5, 'x')], c={'d': None})\nx = inf\n",
        CheckpointError,
    ),
}
PIECES = st.sampled_from([b'-', b'9' * 30, b'"', b'[', b'<', b'\0', b'nan', b'1e999', b'\n', b'{', b'&a;'])  # fmt: skip
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.one_of(PIECES, st.binary(max_size=6))),
    min_size=1,
    max_size=4,
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=6,
)


def attempt(kind: str, path: Path, data: bytes) -> None:
    read, _, error = READERS[kind]
    path.write_bytes(data)
    try:
        read(path)
    except error as found:
        assert str(found)


@pytest.mark.parametrize('kind', READERS)
def test_damaged_bytes(tmp_path_factory, kind):
    path = tmp_path_factory.mktemp('fuzz') / 'file'

    @fuzz
    @hypothesis.given(EDITS)
    def run(edits: list) -> None:
        data = bytearray(READERS[kind][1])
        for place, length, piece in edits:  # replace a part, which may be empty
            at = int(place * len(data))
            data[at : at + length] = piece
        attempt(kind, path, bytes(data))

    run()


def test_other_values_in_annotations(tmp_path):
    places = [
        (name, key)
        for name in ('images', 'annotations', 'categories', 'videos')
        for key in valid()[name][0]
    ]

    @fuzz
    @hypothesis.given(st.lists(st.tuples(st.sampled_from(places), JSON), min_size=1, max_size=3))
    def run(changes: list) -> None:
        content = valid()
        for (name, key), value in changes:
            content[name][0][key] = value
        attempt('json', tmp_path / 'a.json', json.dumps(content).encode())

    run()
