package safeguard;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Delta's commits on S3 as conditional writes (If-None-Match): of several programs that commit at once, one wins.
 *
 * <p>Delta's own log stores call create(path, overwrite), for which S3A looks first and then writes without a condition.
 * S3A of Hadoop 3.4.2 and later writes on the condition that a program asks for; older ones refuse the option.
 */
public class S3LogStore extends HadoopFileSystemLogStore {
  private static final String CONDITION = "fs.option.create.conditional.overwrite";
  private static final int ATTEMPTS = 3;

  public S3LogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(Path path, Iterator<String> lines, Boolean overwrite, Configuration configuration)
      throws IOException {
    FileSystem files = path.getFileSystem(configuration);
    StringBuilder text = new StringBuilder();
    lines.forEachRemaining(line -> text.append(line).append('\n'));
    byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
    for (int attempt = 1; ; attempt++) {
      try {
        put(files, path, bytes, overwrite);
        return;
      } catch (IOException error) {
        byte[] existing = overwrite ? null : read(files, path);
        // The answer to a write that succeeded may be lost, and its repetition refused: the file is then this one. A
        // commit has an id of its own in it, so that no other writer's is equal.
        if (existing != null && Arrays.equals(existing, bytes)) {
          return;
        }
        if (existing != null) {
          FileAlreadyExistsException lost = new FileAlreadyExistsException(path.toString());
          lost.initCause(error);
          throw lost;
        }
        // While another program's write is in progress, S3 may answer "conflict", although that one may yet fail.
        if (overwrite || attempt == ATTEMPTS) {
          throw error;
        }
      }
    }
  }

  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration configuration) {
    return false;
  }

  private static void put(FileSystem files, Path path, byte[] bytes, boolean overwrite) throws IOException {
    FSDataOutputStreamBuilder<?, ?> builder = files.createFile(path);
    builder.overwrite(overwrite);
    builder.recursive();
    if (!overwrite) {
      builder.must(CONDITION, true);
    }
    FSDataOutputStream stream = (FSDataOutputStream) builder.build();
    try {
      stream.write(bytes);
    } catch (IOException | RuntimeException error) {
      stream.abort(); // to close it would publish the part that it holds, for example after a full disk
      throw error;
    }
    stream.close();
  }

  /** The content of a file, or null if there is none. */
  private static byte[] read(FileSystem files, Path path) throws IOException {
    try (FSDataInputStream stream = files.open(path)) {
      return stream.readAllBytes();
    } catch (FileNotFoundException error) {
      return null;
    }
  }
}
