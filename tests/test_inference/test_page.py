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
        return image

    with Page(0, draw) as page:
        for index in (0, 20, 40):
            page.add(sample(index), NOISE)
        assert not drawn
        never_reads = socket.create_connection(page.url.split('/')[2].split(':'))
        never_reads.sendall(b'GET /stream HTTP/1.0\r\n\r\n')
        streams = [request(page, '/stream') for _ in range(9)]
        assert streams[0].headers['Content-Type'] == 'multipart/x-mixed-replace; boundary=frame'
        assert {stream.readline() for stream in streams} == {b'--frame\r\n'}
        assert {picture(stream).shape for stream in streams} == {NOISE.shape}
        streams.pop().close()
        page.add(sample(60), NOISE)
        assert {picture(stream).shape for stream in streams} == {NOISE.shape}
    never_reads.close()
    assert {stream.read() for stream in streams} == {b''}
    assert [index for index, _ in drawn] == [40, 60]
    assert threading.main_thread() not in {thread for _, thread in drawn}
    assert threading.active_count() == before
    with Page(page.url.split('/')[2], draw):  # the port is free
        pass


def test_figures_and_nothing_else_is_served(log):
    with Page(0, None) as page:
        assert page.url in log.text and page.url.startswith('http://127.0.0.1:')
        page.start('gate')
        metainfo = {}, dict(delay=0.0412, dropped=3), dict(delay=2, dropped=1, key_age=7)
        figures = (None, 0, 0), (41, 3, 4), (2000, 4, 7)
        for number, (given, expected) in enumerate(zip(metainfo, figures, strict=True)):
            found = sample(4 * number)
            found.set_metainfo(given)
            page.add(found, NOISE)
            known = json.loads(request(page, '/status').read())
            assert (known['video'], known['frame']) == ('gate', 4 * number)
            assert (known['delay_ms'], known['dropped'], known['key_age']) == expected
        assert known['fps'] > 0 and b'<img src="stream"' in request(page, '/').read()
        head = request(page, '/stream', 'HEAD')
        assert (head.status, head.read()) == (200, b'')
        for path in ('/favicon.ico', '/../setup.cfg', '/stream/'):
            assert request(page, path).status == 404
        for path in ('/?', '/status?t=1764500000', '/stream?token=a/b?'):
            assert request(page, path, 'HEAD').status == 200
        with pytest.raises(OSError, match=page.url[7:-1]), Page(page.url[7:-1], None):
            pass


@pytest.mark.parametrize(
    'address', ['', 'camera', '[::1]:8080', 'http://127.0.0.1:8080/', '127.0.0.1:', '0:99999', -1]
)
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match='give PORT or HOST:PORT'):
        Page(address, None)
