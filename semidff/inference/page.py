"""A page that shows annotated frames in browsers as they are processed."""

import json
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Condition, Lock, Thread
from typing import Any

import cv2
import numpy as np
from mmdet.structures import DetDataSample

from semidff.utils.logs import log_event

from .outputs import Draw, Output

_HTML = b"""<!doctype html><meta charset="utf-8"><title>semidff</title>
<link rel="icon" href="data:,">
<body style="background: #111; color: #ddd; font: 16px sans-serif">
<img src="stream" alt="" style="max-width: 100%"><p></p><script>
let lost
setInterval(async () => {
  const now = await fetch('status').then(got => got.json()).catch(() => null)
  if (now && lost) location.reload()
  lost = !now
  document.querySelector('p').textContent = lost ? 'The video has ended.' : now.frame >= 0 ?
    `${now.video}, frame ${now.frame}: ${now.fps} frames per second, ` +
    `delay ${now.delay_ms ?? '-'} ms, ${now.dropped} frames dropped, ` +
    `key frame ${now.key_age} frames old` : ''
}, 500)
</script>"""


def once(function: Callable[[np.ndarray, DetDataSample], Any]) -> Callable:
    """Return a function that keeps its last value, so that threads compute it once."""
    lock, last = Lock(), (None, None)

    def value(image: np.ndarray, sample: DetDataSample) -> Any:
        nonlocal last
        with lock:
            if last[0] is not sample:
                last = sample, function(image, sample)
            return last[1]

    return value


class Page(Output):
    """Serves annotated frames as MJPEG (``/stream``) and figures as json (``/status``).

    Frames are drawn and encoded in the viewers' threads, once for all viewers: results never wait
    for them. A viewer that is slow gets the newest frame next.

    Args:
        address: ``PORT``, for this computer alone, or ``HOST:PORT``; port 0 is any that is free.
            The ``with`` block begins with an OSError if it cannot be used, and sets ``url``.
    """

    def __init__(self, address: int | str, draw: Draw) -> None:
        known = re.fullmatch(r'(?:([\w.-]*):)?(\d+)', str(address))
        if not known or int(known[2]) > 65535:
            raise ValueError(
                f'serve={address}: give PORT or HOST:PORT; a host is a name or an IPv4 address'
            )
        self._address = known[1] or '127.0.0.1', int(known[2])
        quality = cv2.IMWRITE_JPEG_QUALITY, 85
        self._jpeg = once(lambda *result: cv2.imencode('.jpg', draw(*result), quality)[1].tobytes())
        self._newest: tuple[np.ndarray, DetDataSample] | None = None
        self._changed, self._has_ended = Condition(), False
        self._times: deque[float] = deque(maxlen=30)  # of the last results
        self._known, self._key = dict(dropped=0), 0

    def __enter__(self) -> 'Page':
        try:
            self._server = _Server(self._address, _Viewer)
        except OSError as error:
            raise OSError(error.errno, error.strerror, '{}:{}'.format(*self._address)) from None
        self._server.page = self
        self.url = 'http://{}:{}/'.format(*self._server.server_address)
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        log_event(f'{self.url} shows the frames')
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def start(self, name: str) -> None:
        self._known['video'] = name

    def add(self, sample: DetDataSample, image: np.ndarray) -> None:
        with self._changed:
            self._key = sample.frame_id if sample.is_key_frame else self._key
            self._newest = image, sample
            self._times.append(time.monotonic())
            self._known.update(
                frame=sample.frame_id,
                delay_ms=round(1000 * sample.delay) if 'delay' in sample else None,
                dropped=self._known['dropped'] + sample.get('dropped', 0),
                key_age=sample.get('key_age', sample.frame_id - self._key),
            )
            self._changed.notify_all()

    def status(self) -> list[bytes]:
        """Return json: ``video``, ``frame``, ``fps``, ``delay_ms``, ``dropped``, ``key_age``."""
        with self._changed:
            span = time.monotonic() - self._times[0] if self._times else 0.0
            fps = (len(self._times) - 1) / span if span else 0.0
            return [json.dumps(dict(self._known, fps=round(fps, 1))).encode()]

    def stream(self) -> Iterator[bytes]:
        """Yield parts of MJPEG: each time the newest picture."""
        newest = None
        yield b'--frame\r\n'
        while True:
            with self._changed:
                self._changed.wait_for(lambda s=newest: self._newest is not s or self._has_ended)
                if self._newest is newest:
                    return
                newest = self._newest
            jpeg = self._jpeg(*newest)
            head = b'Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n' % len(jpeg)
            # Chrome shows a picture when the next boundary comes.
            yield head + jpeg + b'\r\n--frame\r\n'


class _Server(ThreadingTCPServer):
    """Has a thread for each request; unlike HTTPServer, it does not look up the host name."""

    allow_reuse_address = True
    viewers: list[tuple[Thread, socket.socket]] = []

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        # A large buffer would hold old pictures of a slow viewer.
        request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        thread.start()
        self.viewers = [v for v in self.viewers if v[0].is_alive()] + [(thread, request)]

    def server_close(self) -> None:
        super().server_close()
        for thread, connection in self.viewers:
            thread.join(0.2)  # for the last picture
            with suppress(OSError):  # the viewer has left
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Viewer(BaseHTTPRequestHandler):
    timeout = 10.0  # seconds, after which a viewer that does not read has left

    def handle(self) -> None:
        with suppress(OSError):  # viewers leave at any time
            super().handle()

    def do_GET(self) -> None:
        page = self.server.page
        kind, content = {
            '/': ('text/html', lambda: [_HTML]),
            '/status': ('application/json', page.status),
            '/stream': ('multipart/x-mixed-replace; boundary=frame', page.stream),
        }.get(self.path.partition('?')[0], (None, None))  # dashboards add a query against caches
        if kind is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Type', kind)
        self.end_headers()
        for part in content() if self.command == 'GET' else ():
            self.wfile.write(part)

    do_HEAD = do_GET

    def log_message(self, *args: Any) -> None:
        """Log nothing."""
