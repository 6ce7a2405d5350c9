"""Files on any file system Spark knows, through the JVM's Hadoop client."""

import re
from typing import Any

from pyspark.sql import SparkSession


class Files:
    """The file system of one location, by absolute paths."""

    def __init__(self, spark: SparkSession, location: str) -> None:
        jvm: Any = spark._jvm
        self._java = jvm.org.apache
        conf = spark._jsparkSession.sessionState().newHadoopConf()
        self._files = self._path(location).getFileSystem(conf)

    def qualified(self, path: str) -> str:
        """An absolute path with its scheme."""
        return str(self._files.makeQualified(self._path(path)).toString())

    def plain(self, path: str) -> str:
        """An absolute path with its scheme, or without for a local one."""
        return re.sub(r"^file:/*", "/", self.qualified(path))

    def exists(self, path: str) -> bool:
        """Whether something is there."""
        return bool(self._files.exists(self._path(path)))

    def is_folder(self, path: str) -> bool:
        """Whether a folder is there."""
        return self.exists(path) and bool(self._files.getFileStatus(self._path(path)).isDirectory())

    def names(self, path: str) -> list[str]:
        """Names in a folder, sorted; none if it is not there."""
        if not self.exists(path):
            return []
        return sorted(str(status.getPath().getName()) for status in self._files.listStatus(self._path(path)))

    def read(self, path: str) -> str | None:
        """A small text file, or None."""
        if not self.exists(path):
            return None
        stream = self._files.open(self._path(path))
        try:
            return str(self._java.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write(self, path: str, text: str) -> None:
        """Write a small text file so that it is there whole or not at all."""
        draft, target = self._path(f"{path}.draft"), self._path(path)
        out = self._files.create(draft, True)
        try:
            out.write(bytearray(text.encode("utf-8")))
        finally:
            out.close()
        self._files.delete(target, False)
        self._files.rename(draft, target)

    def delete(self, path: str) -> None:
        """Delete a file or folder, if it is there."""
        self._files.delete(self._path(path), True)

    def modified(self, path: str) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        if not self.exists(path):
            return None
        return float(self._files.getFileStatus(self._path(path)).getModificationTime()) / 1000

    def _path(self, path: str) -> Any:
        return self._java.hadoop.fs.Path(path)
