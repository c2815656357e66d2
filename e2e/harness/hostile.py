"""A Redis that means harm: it answers every script with an array that does not end."""

import contextlib
import socket
import threading

from .addresses import family, in_url


class EndlessRedis:
    """Serves until it is closed."""

    def __init__(self, host):
        self._listener = socket.create_server((host, 0), family=family(host))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://{in_url(host)}:{self.port}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        # It ends with its peer, or with a request that is none.
        with contextlib.suppress(OSError, ValueError), peer, peer.makefile("rb") as requests:
            while True:
                words = [self._word(requests) for _ in range(int(requests.readline()[1:]))]
                if words[0].upper().startswith(b"EVAL"):
                    peer.sendall(b"*2000000000\r\n")
                    while True:
                        peer.sendall(b":0\r\n" * 65536)
                peer.sendall(b"-ERR unknown command\r\n" if words[0].upper() == b"HELLO" else b"+OK\r\n")

    @staticmethod
    def _word(requests):
        word = requests.read(int(requests.readline()[1:]))
        requests.read(2)
        return word
