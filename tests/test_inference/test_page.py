"""The page of annotated frames, as browsers read it."""

import json
import socket
import threading
from http.client import HTTPConnection, HTTPResponse

import cv2
import numpy as np
import pytest

from semidff.inference.page import Page
from tests.test_inference.test_outputs import sample

NOISE = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)


def request(page: Page, path: str, method: str = 'GET') -> HTTPResponse:
    connection = HTTPConnection(page.url.split('/')[2], timeout=20)
    connection.request(method, path)
    return connection.getresponse()


def picture(stream: HTTPResponse) -> np.ndarray:
    """Read a part behind its boundary, and the next boundary."""
    assert stream.readline() == b'Content-Type: image/jpeg\r\n'
    length = int(stream.readline().removeprefix(b'Content-Length: '))
    jpeg = stream.read(length + 2)[2:]
    assert stream.readline() + stream.readline() == b'\r\n--frame\r\n'
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_viewers_get_the_newest_pictures_drawn_once():
    drawn, before = [], threading.active_count()

    def draw(image, sample):
        drawn.append((sample.frame_id, threading.current_thread()))
        return np.full((40, 60, 3), sample.frame_id, np.uint8)

    with Page(0, draw) as page:
        for index in (0, 20, 40):
            page.add(sample(index), NOISE)
        assert not drawn
        streams = [request(page, '/stream') for _ in range(10)]
        assert streams[0].headers['Content-Type'] == 'multipart/x-mixed-replace; boundary=frame'
        for stream in streams:
            assert stream.readline() == b'--frame\r\n' and picture(stream).shape == (40, 60, 3)
        streams.pop().close()
        page.add(sample(100), NOISE)
        assert [picture(stream).mean() for stream in streams] == pytest.approx([100] * 9, abs=1)
    assert [stream.read() for stream in streams] == [b''] * 9
    assert [index for index, _ in drawn] == [40, 100]
    assert threading.main_thread() not in {thread for _, thread in drawn}
    assert threading.active_count() == before
    with Page(page.url.split('/')[2], draw):  # the port is free
        pass


def test_a_viewer_that_does_not_read_delays_nobody():
    with Page(0, lambda image, _: image) as page:
        dead = socket.create_connection(page.url.split('/')[2].split(':'))
        dead.sendall(b'GET /stream HTTP/1.0\r\n\r\n')
        stream = request(page, '/stream')
        stream.readline()
        for index in range(3):
            page.add(sample(index), NOISE)
            assert picture(stream).shape == NOISE.shape
    dead.close()


def test_figures_and_nothing_else_is_served(log):
    with Page(0, None) as page:
        assert page.url in log.text and page.url.startswith('http://127.0.0.1:')
        page.start('gate')
        known = json.loads(request(page, '/status').read())
        assert known == dict(video='gate', dropped=0, fps=0)
        for number, metainfo in enumerate(({}, dict(delay=0.0412), dict(delay=2, key_age=7))):
            found = sample(4 * number)
            found.set_metainfo(dict(metainfo, dropped=number))
            page.add(found, NOISE)
            known = json.loads(request(page, '/status').read())
            assert known.pop('fps') >= 0
            delay, dropped, age = ((None, 0, 0), (41, 1, 4), (2000, 3, 7))[number]
            figures = dict(delay_ms=delay, dropped=dropped, key_age=age)
            assert known == dict(figures, video='gate', frame=4 * number)
        assert b'<img src="stream"' in request(page, '/').read()
        head = request(page, '/stream', 'HEAD')
        assert (head.status, head.read()) == (200, b'')
        for path in ('/favicon.ico', '/../setup.cfg', '/stream/'):
            assert request(page, path).status == 404
        with pytest.raises(OSError, match=page.url[7:-1]), Page(page.url[7:-1], None):
            pass
