"""Files on any file system Spark knows, through the JVM's Hadoop client."""

import contextlib
import re
import secrets
from typing import Any

from pyspark.sql import SparkSession

from safeguard_spark.errors import TableError


class Files:
    """The file system of one location. All paths are absolute."""

    def __init__(self, spark: SparkSession, location: str) -> None:
        jvm: Any = spark._jvm
        self._java = jvm.org.apache
        conf = spark._jsparkSession.sessionState().newHadoopConf()
        self._files = self._path(location).getFileSystem(conf)

    def qualified(self, path: str) -> str:
        """An absolute path with its scheme."""
        return str(self._files.makeQualified(self._path(path)).toString())

    def plain(self, path: str) -> str:
        """An absolute path with its scheme; a local path without."""
        return re.sub(r"^file:/*", "/", self.qualified(path))

    def exists(self, path: str) -> bool:
        """Whether a file or folder exists."""
        return bool(self._files.exists(self._path(path)))

    def is_folder(self, path: str) -> bool:
        """Whether a folder exists."""
        return self.exists(path) and bool(self._files.getFileStatus(self._path(path)).isDirectory())

    def names(self, path: str) -> list[str]:
        """Names in a folder, sorted; none if the folder does not exist."""
        if not self.exists(path):
            return []
        return sorted(str(status.getPath().getName()) for status in self._files.listStatus(self._path(path)))

    def read(self, path: str) -> str | None:
        """The text of a small file, or None if it does not exist."""
        if not self.exists(path):
            return None
        stream = self._files.open(self._path(path))
        try:
            return str(self._java.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write(self, path: str, text: str) -> None:
        """Write a small text file so that a reader sees all of it or nothing. Raises TableError."""
        # A random name, because two drivers may write the same file.
        draft, target = self._path(f"{path}.{secrets.token_hex(4)}.draft"), self._path(path)
        self._put(draft, text)
        self._files.delete(target, False)
        if not self._files.rename(draft, target):
            self._files.delete(draft, False)
            if not self.exists(path):
                raise TableError(f"{path} cannot be written.")

    def touch(self, path: str, text: str) -> None:
        """Overwrite a small text file. The file always exists, but a reader may see part of it."""
        self._put(self._path(path), text)

    def _put(self, path: Any, text: str) -> None:
        stream = self._files.create(path, True)
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()

    def delete(self, path: str) -> None:
        """Delete a file or folder if it exists."""
        self._files.delete(self._path(path), True)

    def delete_empty(self, path: str) -> None:
        """Delete a folder if it exists and is empty."""
        if self.is_folder(path) and not self.names(path):
            with contextlib.suppress(Exception):  # another process may have written to it in the meantime
                self._files.delete(self._path(path), False)

    def modified(self, path: str) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        if not self.exists(path):
            return None
        return float(self._files.getFileStatus(self._path(path)).getModificationTime()) / 1000

    def _path(self, path: str) -> Any:
        return self._java.hadoop.fs.Path(path)
