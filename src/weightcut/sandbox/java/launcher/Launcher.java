package weightcut.launcher;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;

/**
 * Runs a program and proves that its main method came to its end.
 *
 * <p>Standard input is a mailbox, a file in memory. It holds a secret and the program's classes;
 * both are read and removed before the program starts, and the secret goes back into it once main
 * has returned and every thread that is not a daemon has ended. In between it is a local variable of
 * this module, which opens nothing to reflection; `sun.misc.Unsafe` is not among the modules that
 * this machine was started with; and no native library can be loaded any more, because the system
 * call filter lets nothing be mapped from descriptors beyond those that are taken here.
 */
final class Launcher {
    private static final int SECRET_BYTES = 16;

    /** The descriptors from which the system call filter lets files be mapped into memory. */
    private static final int MAPPABLE = 32;

    private static final List<FileInputStream> TAKEN = new ArrayList<>();

    private static volatile Throwable failedInThread;

    private Launcher() {
    }

    public static void main(String[] arguments) throws Throwable {
        FileInputStream in = new FileInputStream(FileDescriptor.in);
        FileOutputStream mailbox = new FileOutputStream(FileDescriptor.in);
        byte[] content = in.readAllBytes();
        mailbox.getChannel().truncate(0).position(0);
        byte[] secret = Arrays.copyOf(content, SECRET_BYTES);
        DataInputStream data = new DataInputStream(
            new ByteArrayInputStream(content, SECRET_BYTES, content.length - SECRET_BYTES));
        String name = data.readUTF();
        Loader loader = new Loader(data);
        Arrays.fill(content, (byte) 0);
        loadNativeLibraries();
        System.setIn(InputStream.nullInputStream());
        System.setOut(stream(FileDescriptor.out));
        System.setErr(System.out);
        Thread.currentThread().setContextClassLoader(loader);
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> {
            failedInThread = error;
            error.printStackTrace();
        });
        Throwable failure;
        try {
            run(loader, name);
            failure = failedInThread;
        } catch (InvocationTargetException error) {
            failure = error.getCause();
            failure.printStackTrace();
        } catch (Throwable error) {
            failure = error;
            error.printStackTrace();
        }
        System.out.flush();
        System.err.flush();
        mailbox.write(failure == null ? secret : report(failure));
        Runtime.getRuntime().halt(0);
    }

    private static void run(Loader loader, String name) throws Throwable {
        Class<?> type = Class.forName(name, false, loader);
        Method main = type.getDeclaredMethod("main", String[].class);
        main.setAccessible(true);
        main.invoke(null, (Object) new String[0]);
        while (joinOne()) {
            // Java's own end of a program: when its last thread that is not a daemon has ended.
        }
    }

    /** Wait for a thread of the program; return whether there was one. */
    private static boolean joinOne() {
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            if (thread != Thread.currentThread() && !thread.isDaemon()) {
                try {
                    thread.join();
                } catch (InterruptedException interrupted) {
                    // The program's doing; it changes nothing.
                }
                return true;
            }
        }
        return false;
    }

    private static PrintStream stream(FileDescriptor descriptor) {
        return new PrintStream(new FileOutputStream(descriptor), true, StandardCharsets.UTF_8);
    }

    /** Load what Java would load when a program first needs it, then take the descriptors. */
    private static void loadNativeLibraries() throws IOException {
        new CRC32().update(1);
        FileChannel.open(Path.of("/dev/null")).close();
        for (int i = 0; i < MAPPABLE; i++) {
            TAKEN.add(new FileInputStream("/dev/null"));
        }
    }

    private static byte[] report(Throwable error) {
        String kind = "error";
        int depth = 0;
        for (Throwable one = error; one != null && depth < 100; one = one.getCause(), depth++) {
            String words = String.valueOf(one.getMessage());
            if (one instanceof OutOfMemoryError) {
                kind = "memory";
                break;
            }
            if (one instanceof AccessDeniedException || words.contains("Operation not permitted")
                || words.contains("Permission denied")) {
                kind = "blocked";
            }
        }
        return ("{\"error\": \"" + kind + "\"}").getBytes(StandardCharsets.UTF_8);
    }

    /** Defines the program's classes, with assertions that it cannot switch off. */
    private static final class Loader extends ClassLoader {
        private final Map<String, byte[]> classes = new HashMap<>();

        Loader(DataInputStream data) throws IOException {
            super(ClassLoader.getPlatformClassLoader());
            super.setDefaultAssertionStatus(true);
            int count = data.readInt();
            for (int i = 0; i < count; i++) {
                String name = data.readUTF();
                byte[] code = new byte[data.readInt()];
                data.readFully(code);
                classes.put(name, code);
            }
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            byte[] code = classes.get(name);
            if (code == null) {
                throw new ClassNotFoundException(name);
            }
            return defineClass(name, code, 0, code.length);
        }

        @Override
        public void setDefaultAssertionStatus(boolean enabled) {
        }

        @Override
        public void setPackageAssertionStatus(String name, boolean enabled) {
        }

        @Override
        public void setClassAssertionStatus(String name, boolean enabled) {
        }

        @Override
        public void clearAssertionStatus() {
        }
    }
}
