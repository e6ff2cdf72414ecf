import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Reads directories, one a line of standard input, with RDF4J's harness; a line that tells how it went ends each. */
public class Dumps {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String directory; (directory = lines.readLine()) != null;) {
            String end = "read";
            try {
                org.eclipse.rdf4j.sail.nativerdf.wal.H.main(new String[] {"dump", directory});
            } catch (Exception error) {
                end = error.getClass().getSimpleName();
            }
            var out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
            out.println("{\"end\":\"" + end + "\"}");
        }
    }
}
