"""What the servers and Tidegate say while the crowd is at work, asked again and again by a thread of its own."""

import contextlib
import re
import threading
import time
import urllib.request
from collections import Counter

import pymysql

from launcher.client import Client
from launcher.tidegate import CONSOLE_USER, Tidegate

PERIOD_S = 0.25
LOOKS, LOOK_AGAIN_S = 10, 0.1
SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Watch:
    """Between `with` and its end; afterwards the figures stand."""

    def __init__(self, proxy: Tidegate, cluster: dict, limit: int):
        self._proxy, self._servers, self._limit = proxy, cluster["servers"], limit
        self.connections = Counter()        # server → most at once, as the server counts them
        self.clients_least = None           # at any moment
        self.pinned = Counter()             # reason → most sessions at once
        self.pins = {}                      # reason → digest texts seen in SHOW PINS
        self.holders = Counter()            # (state, digest text) of those that had a server connection, all looks together
        self.looks = 0
        self.failure = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                asked = [(server["name"], stack.enter_context(Client(server["socket"]))) for server in self._servers]
                console = stack.enter_context(console_of(self._proxy))
                while not self._end.wait(PERIOD_S):
                    self._look(asked, console)
        except Exception as error:  # the judge tells it: a crowd that nobody watched proves nothing
            self.failure = f"{type(error).__name__}: {error}"

    def _look(self, asked: list, console) -> None:
        for name, client in asked:
            self.connections[name] = max(self.connections[name], on_server(client, self._limit))
        metrics = Metrics(self._proxy)
        clients = metrics.sum("tidegate_clients")
        self.clients_least = clients if self.clients_least is None else min(self.clients_least, clients)
        for reason, value in metrics.by("tidegate_pinned_sessions", "reason").items():
            self.pinned[reason] = max(self.pinned[reason], int(value))
        with console.cursor() as cursor:
            cursor.execute("SELECT reason, digest_text FROM pins")
            for reason, digest in cursor.fetchall():
                self.pins.setdefault(reason, Counter())[digest] += 1
            cursor.execute("SELECT state, digest_text FROM sessions WHERE server IS NOT NULL")
            self.looks += 1
            self.holders.update(cursor.fetchall())


def on_server(client: Client, limit: int) -> int:
    """Connections of the clients' account, by the server's own count. One that was closed counts until the server has noticed;
    so what is above the limit is counted again."""
    for _ in range(LOOKS):
        # The table of the same name would have to convert what the statements say to its own character set.
        count = sum(row["User"] == "app" for row in client.query("SHOW PROCESSLIST"))
        if count <= limit:
            break
        time.sleep(LOOK_AGAIN_S)
    return count


def console_of(proxy: Tidegate):
    user, password = CONSOLE_USER
    return pymysql.connect(host="127.0.0.1", port=proxy.console_port, user=user, password=password, database="tidegate")


class Metrics:
    """One scrape."""

    def __init__(self, proxy: Tidegate):
        with urllib.request.urlopen(f"http://127.0.0.1:{proxy.http_port}/metrics", timeout=10) as answer:
            lines = [SAMPLE.match(line) for line in answer.read().decode().splitlines()]
        self._samples = [(line[1], dict(LABEL.findall(line[2] or "")), float(line[3])) for line in lines if line]

    def sum(self, name: str) -> float:
        return sum(value for found, _, value in self._samples if found == name)

    def by(self, name: str, label: str) -> dict:
        """Label's value → sum; those that are 0 are left out."""
        found = Counter()
        for sample, labels, value in self._samples:
            if sample == name and value:
                found[labels[label]] += value
        return found
