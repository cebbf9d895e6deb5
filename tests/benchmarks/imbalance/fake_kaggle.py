"""A stand-in for Kaggle on the loopback interface, and a file like the one that it serves.

The unmodified kagglehub client is sent here by environment variables alone: ``KAGGLE_API_ENVIRONMENT=LOCALHOST``
makes it speak plain HTTP to a host named localhost, and a proxy, which is this server, gets all its requests whole.
It asks once where the data set is (POST, answered by a redirect to the storage host), then fetches it (GET).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNATURE = "signature-of-a-storage-address"


@dataclass(frozen=True)
class Request:
    """A request that the server received."""

    method: str
    host: str
    first_byte: int = 0
    authorization: str | None = None


class FakeKaggle:
    """The server; its attributes are the faults that it has.

    Args:
        csv: what it serves as version 3 of mlg-ulb/creditcardfraud.
    """

    def __init__(self, csv: bytes) -> None:
        self.archive = _zipped(csv)
        self.requests: list[Request] = []
        self.status = 200
        """What it answers to everything."""
        self.needs_login = False
        self.corrupt = False
        """Whether a byte of the data set is wrong."""
        self.drop_after: int | None = None
        """After how many bytes of the data set it closes the connection, once."""
        self.silent_requests = 0
        """How many of the next requests it accepts and never answers."""
        self.storage = "http://storage.invalid"
        """Where it says that the data set is."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> FakeKaggle:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send the client here."""
        proxy = f"http://127.0.0.1:{self._server.server_port}"
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": proxy, "http_proxy": proxy}

    @property
    def downloads(self) -> int:
        """How often somebody asked for the data set."""
        return sum(request.method == "POST" for request in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeKaggle


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        fake = self.server.fake
        wanted = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        fake.requests.append(Request("POST", self._host, authorization=self.headers.get("Authorization")))
        if fake.silent_requests:
            fake.silent_requests -= 1
            self.rfile.read(1)  # returns when the client has gone
            self.close_connection = True
        elif fake.status != 200:
            self._say(fake.status)
        elif fake.needs_login and "Authorization" not in self.headers:
            self._say(401)
        elif (wanted.get("ownerSlug"), wanted.get("datasetSlug")) != ("mlg-ulb", "creditcardfraud"):
            self._say(404)
        elif self.path.endswith("/DownloadDataset") and "fileName" not in wanted:
            address = f"{fake.storage}/some/where/archive.zip?X-Signature={SIGNATURE}"
            self._send(302, {"Location": address})
        else:
            self._say(404)

    def do_GET(self) -> None:
        fake = self.server.fake
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        fake.requests.append(Request("GET", self._host, first, self.headers.get("Authorization")))
        body = fake.archive[first:]
        digest = base64.b64encode(hashlib.md5(fake.archive).digest()).decode()
        if fake.corrupt:
            body = body[:-1] + bytes([body[-1] ^ 1])
        headers = {"Content-Type": "application/zip", "Accept-Ranges": "bytes", "x-goog-hash": f"md5={digest}"}
        drop_after, fake.drop_after = fake.drop_after, None
        self._send(206 if first else 200, headers, body, only=drop_after)

    @property
    def _host(self) -> str:
        return urlsplit(self.path).hostname or ""

    def _say(self, status: int) -> None:
        body = json.dumps({"code": status, "message": "said the stand-in"}).encode()
        self._send(status, {"Content-Type": "application/json"}, body)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"", *, only: int | None = None) -> None:
        """Answer; with ``only``, send that many bytes of the body and close the connection."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:only])
        self.close_connection = only is not None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def creditcard_csv(rows: int, positives: int, duplicates: int, seed: int) -> bytes:
    """Return a file in the format of creditcard.csv, with frauds about as hard to find.

    With 284,807 rows and 492 frauds, a logistic regression reaches an F1 of 0.80 to 0.84 on both files.

    Args:
        rows: how many there are, duplicates included.
        positives: how many are fraud.
        duplicates: how many rows repeat the one before; those are no frauds.
        seed: of the generator.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    labels = np.zeros(rows, np.int64)
    labels[generator.choice(rows, positives, replace=False)] = 1
    values = np.column_stack(
        [
            np.sort(generator.integers(0, 172_793, rows)),
            _components(generator, labels),
            np.minimum(generator.lognormal(3.0, 1.6, rows), 25_691.16).round(2),
            labels,
        ]
    )
    # Pairs do not overlap, so that a repeated row is never the repetition of another one.
    pairs = np.arange(0, rows - 1, 2)
    pairs = pairs[(labels[pairs] == 0) & (labels[pairs + 1] == 0)]
    repeated = generator.choice(pairs, duplicates, replace=False)
    values[repeated + 1] = values[repeated]

    columns = ["Time", *(f"V{i}" for i in range(1, 29)), "Amount", "Class"]
    header = ",".join(f'"{column}"' for column in columns) + "\n"
    row_format = "%d," + 28 * "%.6f," + '%.8g,"%d"\n'
    return (header + "".join([row_format % tuple(row) for row in values.tolist()])).encode()


def _components(generator: np.random.Generator, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return V1 to V28: heavy-tailed and uncorrelated; 83 % of the frauds are shifted, the others are like the rest."""
    import numpy as np

    freedom, rows = 4, len(labels)
    deviations = np.geomspace(1.96, 0.33, 28)
    tails = np.sqrt((freedom - 2) / generator.chisquare(freedom, rows))
    components: NDArray[np.float64] = generator.normal(size=(rows, 28)) * tails[:, None] * deviations
    shifted = (labels == 1) & (generator.random(rows) < 0.83)
    for number, shift in {3: -3.5, 4: 2.2, 10: -2.8, 11: 1.9, 12: -3.1, 14: -3.5, 16: -2.0, 17: -3.3}.items():
        components[shifted, number - 1] += shift
    return components


def _zipped(csv: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("creditcard.csv", csv)
    return buffer.getvalue()
