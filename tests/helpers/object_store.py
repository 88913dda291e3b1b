"""An object store on this machine that speaks S3: moto's server."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

SECRETS = {"AWS_ACCESS_KEY_ID": "key-of-a-test", "AWS_SECRET_ACCESS_KEY": "secret-of-a-test"}


class ObjectStore:
    """A running store and what it was asked for."""

    def __init__(self) -> None:
        self.address = ""
        """http://127.0.0.1:PORT"""
        self.requests: Counter = Counter()
        """HTTP method -> number of requests."""
        self.sent = 0
        """Bytes of the bodies of its answers to GET."""

    def forget(self) -> None:
        self.requests.clear()
        self.sent = 0


@contextmanager
def object_store(folder: Path, bucket: str) -> Iterator[ObjectStore]:
    """Run a store that has an empty bucket. Meanwhile this process's environment names it, and none of the user's own settings.
    folder: for an empty file of settings."""
    import requests
    import s3fs
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    inner, store = DomainDispatcherApplication(create_backend_app), ObjectStore()

    def application(environ, start_response):
        method = environ["REQUEST_METHOD"]
        store.requests[method] += 1
        for piece in inner(environ, start_response):
            store.sent += len(piece) if method == "GET" else 0
            yield piece

    server = make_server("127.0.0.1", 0, application, threaded=True)
    store.address = f"http://127.0.0.1:{server.port}"
    (settings := folder / "no-settings").touch()
    environment = SECRETS | {
        "AWS_ENDPOINT_URL_S3": store.address, "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": str(settings),
        "AWS_SHARED_CREDENTIALS_FILE": str(settings), "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with patch.dict(os.environ, environment):
            requests.post(f"{store.address}/moto-api/reset", timeout=60)  # what an earlier store of this process held
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir(bucket)
            yield store
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.shutdown()
        thread.join()
        server.server_close()
