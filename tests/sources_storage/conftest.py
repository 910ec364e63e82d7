"""A real HTTP S3 on this machine, one for all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

BUCKET = "bucket"
_ACCOUNT = "123456789012"
"""What moto calls everybody."""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of an S3 with an empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Bucket, empty, with the environment that leads to it."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    for name in list(os.environ):
        if name.startswith(("AWS_", "FSSPEC_")):
            monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(s3_server)
    yield bucket
    bucket.close()


class Bucket:
    """What a test puts into the bucket."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self._endpoint = endpoint
        self._client = boto3.client("s3", endpoint_url=endpoint)
        self._client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes, *, public: bool = False) -> None:
        acl = "public-read" if public else "private"
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content, ACL=acl)

    def put_tree(self, root: Path, prefix: str, *, public: bool = False) -> str:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                name = f"{prefix}/{file.relative_to(root).as_posix()}"
                self.put(name, file.read_bytes(), public=public)
        return f"s3://{BUCKET}/{prefix}"

    def put_many(self, keys: Iterable[str], content: bytes) -> None:
        """Put many objects at once, past HTTP."""
        from moto.s3.models import s3_backends

        backend = s3_backends[_ACCOUNT]["aws"]
        for key in keys:
            backend.put_object(BUCKET, key, content)

    def close(self) -> None:
        self._client.close()
        urlopen(Request(f"{self._endpoint}/moto-api/reset", method="POST")).close()
