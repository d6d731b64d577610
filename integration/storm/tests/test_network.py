"""The relays do what they are told, by whose connection it is."""

import contextlib
import os
import socket
import threading
import unittest

from storm.network import CUT, HOLD, PASS, Network

#: Nothing came by then: what is held stays held.
SILENCE_S = 0.3
TIMEOUT_S = 10


class Echo:
    """A server that says everything again."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)

    def _serve(self):
        with self._listener, contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1024):
                connection.sendall(data)


class Links(unittest.TestCase):
    def setUp(self):
        with contextlib.ExitStack() as stack:
            echoes = {name: stack.enter_context(contextlib.closing(Echo())) for name in "ab"}
            self.network = stack.enter_context(Network({name: echo.port for name, echo in echoes.items()}))
            self.addCleanup(stack.pop_all().close)
        self.network.know("me", os.getpid())

    def connect(self, server="a"):
        client = socket.create_connection(("127.0.0.1", self.network.port(server)), TIMEOUT_S)
        self.addCleanup(client.close)
        return client

    def assert_passes(self, client, data=b"x"):
        client.sendall(data)
        self.assertEqual(client.recv(1024), data)

    def assert_nothing_comes(self, client):
        client.settimeout(SILENCE_S)
        with self.assertRaises(TimeoutError):
            client.recv(1024)
        client.settimeout(TIMEOUT_S)

    def test_what_is_held_goes_on_when_the_link_is_mended(self):
        client = self.connect()
        self.assert_passes(client)
        self.network.link("me", "a", HOLD)
        client.sendall(b"later")
        late = self.connect()
        late.sendall(b"new")
        self.assert_nothing_comes(client)
        self.assert_nothing_comes(late)
        self.network.mend()
        self.assertEqual((client.recv(1024), late.recv(1024)), (b"later", b"new"))

    def test_a_cut_resets_connections_and_refuses_new_ones_of_this_link_alone(self):
        client, other = self.connect("a"), self.connect("b")
        self.assert_passes(client)
        self.network.link("me", "a", CUT)
        with self.assertRaises(ConnectionResetError):
            client.recv(1024)
        with self.assertRaises(ConnectionResetError):
            self.connect("a").recv(1024)
        self.assert_passes(other)
        self.network.link("me", "a", PASS)
        self.assert_passes(self.connect("a"))

    def test_a_link_of_somebody_else_is_not_ours(self):
        self.network.know("somebody", 1)
        self.network.link("somebody", "a", CUT)
        self.assert_passes(self.connect())

    def test_the_servers_end_is_the_clients(self):
        client = self.connect()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1024), b"")


if __name__ == "__main__":
    unittest.main()
