"""An object store in memory behind gs:// paths, for tests without a server: folders exist only through their files."""

import uuid

from etils.epath import backend, gpath
from fsspec.implementations.memory import MemoryFileSystem


class Store(MemoryFileSystem):
    """fsspec's files in memory under the names that gcsfs gives them, and without folders of their own."""

    protocol, cachable = ("gs", "gcs"), False

    def __init__(self):
        super().__init__()
        self.store, self.pseudo_dirs = {}, [""]

    @classmethod
    def _strip_protocol(cls, path):
        path = str(path).removeprefix("gs://").strip("/")
        return f"/{path}" if path else ""

    def mkdir(self, path, create_parents=True, **options):
        pass

    def makedirs(self, path, exist_ok=False):
        pass

    def glob(self, path, **options):
        return [found.lstrip("/") for found in super().glob(path, **options)]


def install(monkeypatch):
    """Lets etils use a new store for gs:// paths until the end of the test; returns the path of a bucket."""
    store = Store()
    monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)  # etils would take TensorFlow's files for gs:// paths
    true = backend._FileSystemSpecBackend._get_filesystem
    monkeypatch.setattr(
        backend._FileSystemSpecBackend,
        "_get_filesystem",
        lambda self, name: store if name in ("gs", "gcs") else true(self, name),
    )
    return f"gs://bucket-{uuid.uuid4().hex[:8]}"
