import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.TypeParameterTree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreeScanner;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.SynchronousQueue;
import javax.lang.model.element.Modifier;
import javax.lang.model.element.Name;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/**
 * Compiles untrusted sources in memory, one request at a time, until its input ends.
 *
 * <p>A request is: the number of sources; for each a name (modified UTF-8) and its text (a length,
 * UTF-8). An answer is: 1 and the program, or 0 and the diagnostics, as a length and bytes. A
 * program is the name of its main class (empty if there is none), the number of classes, and for
 * each its binary name, a length, and its bytes.
 */
final class CompileServer {
    private static final int MAX_ERRORS = 20;
    private static final long STACK = 64L << 20;

    /**
     * What a test relies on. A type of the same name in the program would stand before Java's own,
     * and could make any comparison true.
     */
    private static final Set<String> RESERVED = Set.of(
        "Arrays", "AssertionError", "Boolean", "Character", "Collections", "Double", "Error",
        "Exception", "Float", "Integer", "List", "Long", "Map", "Math", "Object", "Objects",
        "RuntimeException", "Set", "StrictMath", "String", "System", "Throwable");

    private final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final JavaFileManager platform =
        compiler.getStandardFileManager(null, Locale.ENGLISH, StandardCharsets.UTF_8);
    private final List<String> options;

    private CompileServer(List<String> options) {
        this.options = options;
    }

    public static void main(String[] options) throws Exception {
        DataInputStream in = new DataInputStream(System.in);
        DataOutputStream out = new DataOutputStream(System.out);
        System.setOut(new PrintStream(OutputStream.nullOutputStream()));
        CompileServer server = new CompileServer(List.of(options));
        SynchronousQueue<List<Source>> requests = new SynchronousQueue<>();
        Thread worker = new Thread(null, () -> server.serve(requests, out), "compile", STACK);
        worker.setDaemon(true);
        worker.start();
        try {
            while (true) {
                requests.put(read(in));
            }
        } catch (EOFException end) {
            // Whatever is being compiled: nobody waits for it any more.
            Runtime.getRuntime().halt(0);
        }
    }

    private static List<Source> read(DataInputStream in) throws IOException {
        int count = in.readInt();
        List<Source> sources = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String name = in.readUTF();
            byte[] text = new byte[in.readInt()];
            in.readFully(text);
            sources.add(new Source(name, new String(text, StandardCharsets.UTF_8)));
        }
        return sources;
    }

    private void serve(SynchronousQueue<List<Source>> requests, DataOutputStream out) {
        try {
            while (true) {
                List<Source> sources = requests.take();
                byte[] answer;
                boolean good = false;
                try {
                    answer = compile(sources);
                    good = true;
                } catch (Refused error) {
                    answer = error.getMessage().getBytes(StandardCharsets.UTF_8);
                } catch (StackOverflowError error) {
                    answer = "error: the program is nested too deeply".getBytes();
                }
                out.writeByte(good ? 1 : 0);
                out.writeInt(answer.length);
                out.write(answer);
                out.flush();
            }
        } catch (Throwable error) {
            error.printStackTrace();
            Runtime.getRuntime().halt(error instanceof OutOfMemoryError ? 78 : 1);
        }
    }

    private byte[] compile(List<Source> sources) throws IOException {
        DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
        Memory memory = new Memory(platform);
        StringWriter words = new StringWriter();
        JavacTask task =
            (JavacTask) compiler.getTask(words, memory, found, options, null, sources);
        try {
            List<CompilationUnitTree> trees = new ArrayList<>();
            task.parse().forEach(trees::add);
            refuseIfWrong(found);
            String main = inspect(trees);
            task.generate();
            refuseIfWrong(found);
            return program(main, memory.classes);
        } catch (IllegalStateException | IllegalArgumentException error) {
            throw new Refused("error: the compiler gave up: " + error);
        } catch (RuntimeException error) {
            // javac wraps what goes wrong inside it.
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            if (cause instanceof StackOverflowError) {
                throw (StackOverflowError) cause;
            }
            throw new Refused(error instanceof Refused ? error.getMessage()
                : "error: the compiler gave up: " + cause);
        }
    }

    private static void refuseIfWrong(DiagnosticCollector<JavaFileObject> found) {
        StringBuilder text = new StringBuilder();
        int errors = 0;
        for (Diagnostic<? extends JavaFileObject> one : found.getDiagnostics()) {
            if (one.getKind() == Diagnostic.Kind.ERROR && errors++ < MAX_ERRORS) {
                text.append("line ").append(one.getLineNumber()).append(": error: ")
                    .append(one.getMessage(Locale.ENGLISH)).append('\n');
            }
        }
        if (errors > 0) {
            throw new Refused(text.toString());
        }
    }

    /**
     * Refuse what hides a reserved type; return the binary name of the main class: the last type in
     * the file that has a main method. A test stands after its solution, so a solution cannot put
     * another main method in its place.
     */
    private static String inspect(List<CompilationUnitTree> trees) {
        String main = "";
        for (CompilationUnitTree tree : trees) {
            String folder = tree.getPackageName() == null ? "" : tree.getPackageName() + ".";
            new TreeScanner<Void, Void>() {
                @Override
                public Void visitClass(ClassTree type, Void nothing) {
                    refuseIfReserved(type.getSimpleName());
                    return super.visitClass(type, nothing);
                }

                @Override
                public Void visitVariable(VariableTree variable, Void nothing) {
                    refuseIfReserved(variable.getName());
                    return super.visitVariable(variable, nothing);
                }

                @Override
                public Void visitTypeParameter(TypeParameterTree type, Void nothing) {
                    refuseIfReserved(type.getName());
                    return super.visitTypeParameter(type, nothing);
                }
            }.scan(tree, null);
            for (Tree type : tree.getTypeDecls()) {
                if (type instanceof ClassTree && hasMain((ClassTree) type)) {
                    main = folder + ((ClassTree) type).getSimpleName();
                }
            }
        }
        return main;
    }

    /** A variable hides a type of the same name as a type of the program's own does (JLS 6.4.2). */
    private static void refuseIfReserved(Name name) {
        if (RESERVED.contains(name.toString())) {
            throw new Refused("error: the program hides Java's own type " + name
                + " by a name of its own, which is not allowed");
        }
    }

    private static boolean hasMain(ClassTree type) {
        boolean open = type.getKind() == Tree.Kind.INTERFACE;
        for (Tree member : type.getMembers()) {
            if (member instanceof MethodTree) {
                MethodTree method = (MethodTree) member;
                Set<Modifier> flags = method.getModifiers().getFlags();
                if (method.getName().contentEquals("main")
                    && method.getParameters().size() == 1
                    && flags.contains(Modifier.STATIC)
                    && (open || flags.contains(Modifier.PUBLIC))) {
                    return true;
                }
            }
        }
        return false;
    }

    private static byte[] program(String main, Map<String, ByteArrayOutputStream> classes)
        throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeUTF(main);
        out.writeInt(classes.size());
        for (Map.Entry<String, ByteArrayOutputStream> entry : classes.entrySet()) {
            out.writeUTF(entry.getKey());
            out.writeInt(entry.getValue().size());
            entry.getValue().writeTo(out);
        }
        return bytes.toByteArray();
    }

    private static final class Refused extends RuntimeException {
        private static final long serialVersionUID = 1;

        Refused(String message) {
            super(message);
        }
    }

    private static final class Source extends SimpleJavaFileObject {
        private final String text;

        Source(String name, String text) {
            super(URI.create("memory:///" + name), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreErrors) {
            return text;
        }

        /** A public class may live in a file of any name. */
        @Override
        public boolean isNameCompatible(String name, Kind kind) {
            return kind == Kind.SOURCE;
        }
    }

    /** Keeps what is compiled in memory, and finds nothing but Java's own modules. */
    private static final class Memory extends ForwardingJavaFileManager<JavaFileManager> {
        final Map<String, ByteArrayOutputStream> classes = new LinkedHashMap<>();

        Memory(JavaFileManager platform) {
            super(platform);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
            Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            URI uri = URI.create("memory:///" + name.replace('.', '/') + kind.extension);
            return new SimpleJavaFileObject(uri, kind) {
                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream stream = new ByteArrayOutputStream();
                    classes.put(name, stream);
                    return stream;
                }
            };
        }

        @Override
        public void close() {
            // The platform's files stay open for the next compilation.
        }
    }
}
