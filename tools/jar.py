"""`python -m tools.jar`: build safeguard_spark/spark/log-stores.jar from java/. Needs a JDK and the jars of Delta."""

import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from safeguard_spark.spark.jars import LOG_STORES_JAR
from tools.rooms import ROOT

SOURCE = ROOT / "safeguard_spark/spark/java"
JAVA = 17  # the oldest that Spark 4 runs on


def main() -> int:
    """Write the jar. Returns 0."""
    with zipfile.ZipFile(LOG_STORES_JAR, "w", zipfile.ZIP_DEFLATED) as jar:
        for name, content in compiled().items():
            jar.writestr(zipfile.ZipInfo(name), content)  # without the time, so that the same source is the same jar
    return 0


def compiled() -> dict[str, bytes]:
    """The class files of the source by their names in a jar."""
    delta = sorted(Path.home().glob(".ivy2*/jars/io.delta_delta-storage-*.jar"))[-1]
    spark = find_spec("pyspark")
    assert spark is not None and spark.origin is not None
    class_path = f"{Path(spark.origin).parent}/jars/*:{delta}"
    with tempfile.TemporaryDirectory() as folder:
        sources = sorted(str(file) for file in SOURCE.rglob("*.java"))
        command = ["javac", "--release", str(JAVA), "-g:none", "-Werror", "-cp", class_path, "-d", folder, *sources]
        subprocess.run(command, check=True)
        files = sorted(Path(folder).rglob("*.class"))
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}


if __name__ == "__main__":
    sys.exit(main())
