"""Files on any file system Spark knows, through the JVM's Hadoop client."""

import contextlib
import re
import secrets
import time
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession

from safeguard_spark.errors import TableError

HEAD_BYTES = 1024
# Packages of file systems that come with neither Spark nor Delta, in the version of Spark's Hadoop.
PACKAGES = {
    "s3a": "org.apache.hadoop:hadoop-aws:{hadoop}",
    "abfss": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "abfs": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "wasbs": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "gs": "org.apache.hadoop:hadoop-gcp:{hadoop}",
}
RENAMING = ("file", "hdfs", "viewfs")  # file systems with a rename that replaces a file in one step


class Files:
    """The files below one location. A path is given in parts below it; without parts it is the location itself.

    Raises TableError if Spark does not know the location's file system.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark, self.root = spark, root
        jvm: Any = spark._jvm
        self._java, self._fs = jvm.org.apache, jvm.org.apache.hadoop.fs
        self._conf = spark._jsparkSession.sessionState().newHadoopConf()
        if re.match("https?:", root):
            raise TableError(f"{root} is not on a file system that Spark can read. Download it, and name the file.")
        try:
            self._files = self._path().getFileSystem(self._conf)
        except (Py4JJavaError, IllegalArgumentException) as error:
            raise TableError(f"{root} cannot be opened: {self._advice(str(error))}") from error
        self.scheme = str(self._files.getUri().getScheme())
        if self.scheme == "file":
            # Without checksum files: Hadoop's client could replace a file and its checksum only one after the other.
            self._files = self._fs.FileSystem.getLocal(self._conf).getRaw()

    def _advice(self, cause: str) -> str:
        """Why the location's file system cannot be opened, and what to do."""
        scheme, _, rest = self.root.partition("://")
        if "No FileSystem for scheme" not in cause and "ClassNotFoundException" not in cause:
            line = next((line for line in cause.splitlines() if "Exception" in line), cause.splitlines()[0])
            return f"{line.strip(': ')[:300]}. Correct the location."
        if scheme in ("s3", "s3n"):
            return f"Spark does not know {scheme}://. Write s3a://{rest}."
        if scheme not in PACKAGES:
            return f"Spark does not know {scheme}://. Add the package for it, or correct the location."
        package = PACKAGES[scheme].format(hadoop=self._java.hadoop.util.VersionInfo.getVersion())
        return (
            f"{scheme}:// needs the package {package}. Add --set spark.conf.spark.jars.packages={package}, or to "
            f"spark-submit --packages {package}."
        )

    def path(self, *parts: str | int) -> str:
        """A path below the location."""
        return "/".join([self.root, *map(str, parts)])

    def folder(self, *parts: str | int) -> "Files":
        """The files of a folder."""
        return Files(self.spark, self.path(*parts))

    def qualified(self) -> str:
        """The location as an absolute path with its scheme."""
        return str(self._files.makeQualified(self._path()).toString())

    def plain(self) -> str:
        """The location as an absolute path with its scheme; a local path without, if the default is local too."""
        local, default = self.local_path(), self._fs.FileSystem.getDefaultUri(self._conf).getScheme()
        return local if default == "file" else re.sub(r"^file:/*", "file:///", self.qualified())

    def local_path(self) -> str:
        """The location as an absolute path without the scheme `file`."""
        return re.sub(r"^file:/*", "/", self.qualified())

    def exists(self, *parts: str | int) -> bool:
        """Whether a file or folder exists."""
        return bool(self._files.exists(self._path(*parts)))

    def is_folder(self, *parts: str | int) -> bool:
        """Whether a folder exists."""
        return self.exists(*parts) and bool(self._files.getFileStatus(self._path(*parts)).isDirectory())

    def names(self, *parts: str | int) -> list[str]:
        """Names in a folder, sorted; none if the folder does not exist."""
        if not self.exists(*parts):
            return []
        return sorted(str(status.getPath().getName()) for status in self._files.listStatus(self._path(*parts)))

    def entries(self, *parts: str | int) -> list[tuple[str, bool]]:
        """What is in a folder, sorted by name: names, and whether each is a folder."""
        statuses = self._files.listStatus(self._path(*parts))
        return sorted((str(status.getPath().getName()), bool(status.isDirectory())) for status in statuses)

    def head(self, *parts: str | int) -> str:
        """The first bytes of a file as text; what is not UTF-8 is replaced."""
        with contextlib.closing(self._files.open(self._path(*parts))) as stream:
            return bytes(stream.readNBytes(HEAD_BYTES)).decode(errors="replace")

    def read_text(self, *parts: str | int) -> str | None:
        """The text of a small file, or None if it does not exist, or is empty because it is about to be written."""
        if not self.exists(*parts):
            return None
        with contextlib.closing(self._files.open(self._path(*parts))) as stream:
            return str(self._java.commons.io.IOUtils.toString(stream, "UTF-8")) or None

    def write_text(self, text: str, *parts: str | int) -> None:
        """Write a small text file, or replace it, so that a reader sees all of the old text or all of the new one."""
        target = self._path(*parts)
        if self.scheme not in RENAMING:  # an object store shows a file when it is complete
            self._put(target, text)
            return
        # A random name, because two drivers may write the same file.
        draft = self._path(*parts[:-1], f"{parts[-1]}.{secrets.token_hex(4)}.draft")
        self._put(draft, text)
        try:
            if self.scheme == "file":  # a FileContext would delete the target first
                is_renamed = bool(self._files.rename(draft, target))
            else:
                gateway: Any = self.spark.sparkContext._gateway
                options = gateway.new_array(self._fs.Options.Rename, 1)
                options[0] = self._fs.Options.Rename.OVERWRITE
                self._fs.FileContext.getFileContext(self._files.getUri(), self._conf).rename(draft, target, options)
                is_renamed = True
        finally:
            self._files.delete(draft, False)
        if not is_renamed:
            raise TableError(f"{self.path(*parts)} cannot be written.")

    def touch(self, *parts: str | int) -> None:
        """Set a file's modification time to now; creates the file if needed."""
        self._put(self._path(*parts), str(time.time()))

    def _put(self, path: Any, text: str) -> None:
        if self.scheme in RENAMING:
            stream = self._files.create(path, True)
        else:  # on S3 this is one PUT: without looking for a file or a folder of this name first
            builder = self._files.createFile(path).overwrite(True).recursive()
            stream = builder.opt("fs.s3a.create.performance", "true").build()
        with contextlib.closing(stream):
            stream.write(bytearray(text.encode("utf-8")))

    def delete(self, *parts: str | int) -> None:
        """Delete a file or folder if it exists."""
        self._files.delete(self._path(*parts), True)

    def delete_empty(self, *parts: str | int) -> None:
        """Delete a folder if it exists and is empty."""
        if self.is_folder(*parts) and not self.names(*parts):
            with contextlib.suppress(Exception):  # another process may have written to it in the meantime
                self._files.delete(self._path(*parts), False)

    def modified(self, *parts: str | int) -> float | None:
        """When a file was last written, in seconds by the file system's clock, or None."""
        if not self.exists(*parts):
            return None
        return float(self._files.getFileStatus(self._path(*parts)).getModificationTime()) / 1000

    def size(self, *parts: str | int) -> int:
        """A file's bytes, 0 if it does not exist."""
        return int(self._files.getFileStatus(self._path(*parts)).getLen()) if self.exists(*parts) else 0

    def newest_file(self, *parts: str | int) -> float:
        """When the newest file in a folder, at any depth, was last written, in seconds; 0 if there is no file."""
        files, newest = self._files.listFiles(self._path(*parts), True), 0
        while files.hasNext():
            newest = max(newest, int(files.next().getModificationTime()))
        return newest / 1000

    def _path(self, *parts: str | int) -> Any:
        return self._fs.Path(self.path(*parts))
