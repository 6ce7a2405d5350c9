package safeguard;

import io.delta.storage.HDFSLogStore;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Iterator;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * Delta's commits in folders as hard links to finished files: of several programs that commit at once, one wins.
 *
 * <p>Delta's own log store looks whether the file exists and then renames another to its name, which replaces what a
 * second program wrote in between. It also starts a process for each question about a file (readlink, chmod).
 */
public class LocalLogStore extends HDFSLogStore {
  public LocalLogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(
      org.apache.hadoop.fs.Path path, Iterator<String> lines, Boolean overwrite, Configuration configuration)
      throws IOException {
    LocalFileSystem files = FileSystem.getLocal(configuration);
    Path target = files.pathToFile(path).toPath();
    Path draft = files.pathToFile(createTempPath(path)).toPath();
    try {
      save(draft, lines, FsPermission.getFileDefault().applyUMask(FsPermission.getUMask(configuration)));
      // Readers would hold a checksum that another log store left against the new file.
      Files.deleteIfExists(target.resolveSibling("." + target.getFileName() + ".crc"));
      if (overwrite) {
        Files.move(draft, target, StandardCopyOption.ATOMIC_MOVE);
      } else if (!link(draft, target)) {
        try (Stream<String> saved = Files.lines(draft)) {
          super.write(path, saved.iterator(), false, configuration);
        }
      }
    } finally {
      draft.toFile().delete(); // a commit that is written must not fail because of its draft
    }
  }

  private static void save(Path draft, Iterator<String> lines, FsPermission permission) throws IOException {
    OutputStream file = Files.newOutputStream(draft, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
    try (OutputStream stream = new BufferedOutputStream(file)) {
      while (lines.hasNext()) {
        stream.write((lines.next() + "\n").getBytes(StandardCharsets.UTF_8));
      }
    }
    Files.setPosixFilePermissions(draft, PosixFilePermissions.fromString(permission.toString()));
  }

  /** Give a file a second name. False if the file system has no hard links; raises if the name is taken. */
  private static boolean link(Path draft, Path target) throws IOException {
    try {
      Files.createLink(target, draft);
    } catch (FileSystemException | UnsupportedOperationException error) {
      // NFS repeats a request whose answer is lost, and the repetition finds the name taken: by this file.
      if (Files.exists(target) && Files.isSameFile(draft, target)) {
        return true;
      }
      if (error instanceof FileAlreadyExistsException) {
        throw error;
      }
      return false;
    }
    return true;
  }
}
