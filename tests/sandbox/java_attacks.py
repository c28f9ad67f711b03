"""Attacks in Java: the statements of a main method, as in `attacks`.

ESCAPES end normally if, and only if, they got what they wanted; they find the constants of
`Field.java_prelude`. FORGED leave with exit code 0 although they are wrong. In whole programs (they
begin with "class" or "import") NAME stands for the class that a naive judge starts.
"""

from __future__ import annotations

from textwrap import dedent, indent

ESCAPES: dict[str, str] = {
    # the network
    "tcp-connect": 'new java.net.Socket("127.0.0.1", TCP_PORT).close();',
    "tcp-listen": "new java.net.ServerSocket(0).close();",
    "tcp-channel": """
        java.nio.channels.SocketChannel.open(new java.net.InetSocketAddress("127.0.0.1", TCP_PORT));
        """,
    "udp-send": """
        var address = java.net.InetAddress.getByName("127.0.0.1");
        new java.net.DatagramSocket().send(
            new java.net.DatagramPacket(new byte[] {1}, 1, address, UDP_PORT));
        """,
    "unix-socket": """
        var address = java.net.UnixDomainSocketAddress.of("mine");
        java.nio.channels.ServerSocketChannel.open(java.net.StandardProtocolFamily.UNIX)
            .bind(address);
        """,
    # files
    "read-file": 'assert Files.readString(Path.of(SECRET_FILE)).contains("secret");',
    "read-by-stream": "assert new FileInputStream(SECRET_FILE).read() > 0;",
    "read-by-random-access": 'assert new RandomAccessFile(SECRET_FILE, "r").length() > 0;',
    "read-by-mapping": """
        var channel = java.nio.channels.FileChannel.open(Path.of(SECRET_FILE));
        assert channel.map(java.nio.channels.FileChannel.MapMode.READ_ONLY, 0, 5).get(0) > 0;
        """,
    "read-users": 'assert Files.size(Path.of("/etc/passwd")) > 0; new FileReader("/etc/passwd");',
    "read-through-symlink": """
        Files.createSymbolicLink(Path.of("link"), Path.of(SECRET_FILE));
        assert Files.readString(Path.of("link")).contains("secret");
        """,
    "list-folder": "assert new File(OUTSIDE).list().length > 0;",
    "walk-folder": "assert Files.list(Path.of(OUTSIDE)).count() > 0;",
    "load-class-from-outside": """
        var url = Path.of(OUTSIDE).toUri().toURL();
        try (var in = url.openStream()) { assert in.read() >= -1; }
        """,
    "write-file": 'Files.writeString(Path.of(OUTSIDE + "/new"), "x");',
    "append-to-file": "new FileOutputStream(SECRET_FILE, true).write(1);",
    "truncate": "new FileOutputStream(SECRET_FILE).close();",
    "delete": "Files.delete(Path.of(SECRET_FILE));",
    "rename": """
        if (!new File(SECRET_FILE).renameTo(new File(OUTSIDE + "/moved"))) throw new Error();
        """,
    "make-folder": 'if (!new File(OUTSIDE + "/folder").mkdir()) throw new Error();',
    "change-mode": "if (!new File(SECRET_FILE).setWritable(false)) throw new Error();",
    "change-times": "if (!new File(SECRET_FILE).setLastModified(0)) throw new Error();",
    "shared-memory": """
        var path = Path.of("/dev/shm/attack-" + System.nanoTime());
        Files.writeString(path, "x");
        Files.delete(path);
        """,
    # other processes
    "start-process": 'if (new ProcessBuilder("true").start().waitFor() != 0) throw new Error();',
    "exec": 'if (Runtime.getRuntime().exec("true").waitFor() != 0) throw new Error();',
    "kill": "if (!ProcessHandle.of(VICTIM).get().destroyForcibly()) throw new Error();",
    "read-command-line-of-another": """
        assert Files.readString(Path.of("/proc/" + VICTIM + "/cmdline")).length() > 0;
        """,
    "see-environment": 'if (System.getenv("ATTACK_SECRET") == null) throw new Error();',
    "see-initial-environment": """
        assert Files.readString(Path.of("/proc/self/environ")).contains("ATTACK_SECRET");
        """,
    # native code, and memory without rules
    "load-library": "System.load(LIBRARY);",
    "load-library-by-reflection": """
        Runtime.class.getMethod("load", String.class).invoke(Runtime.getRuntime(), LIBRARY);
        """,
    "load-library-from-scratch": """
        Files.copy(Path.of(LIBRARY), Path.of("native.so"));
        System.load(Path.of("native.so").toAbsolutePath().toString());
        """,
    "unsafe": """
        var field = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
        field.setAccessible(true);
        var unsafe = field.get(null);
        unsafe.getClass().getMethod("allocateMemory", long.class).invoke(unsafe, 8L);
        """,
    "dump-heap": """
        var bean = Class.forName("com.sun.management.HotSpotDiagnosticMXBean");
        var server = java.lang.management.ManagementFactory.getPlatformMXBean(
            (Class) bean.asSubclass(java.lang.management.PlatformManagedObject.class));
        bean.getMethod("dumpHeap", String.class, boolean.class).invoke(server, "h.hprof", true);
        """,
    "own-memory": 'new RandomAccessFile("/proc/self/mem", "r");',
    # resources: more than the limits of `field` allow
    "memory": "byte[] x = new byte[400 << 20]; assert x.length > 0;",
    "memory-in-steps": """
        var x = new ArrayList<byte[]>();
        for (int i = 0; i < 400; i++) x.add(new byte[1 << 20]);
        """,
    "memory-off-heap": "java.nio.ByteBuffer.allocateDirect(400 << 20);",
    "cpu": """
        long x = 1;
        for (long i = 0; i < 1_500_000_000L; i++) x = x * 6364136223846793005L + 1442695040888963L;
        if (x == 0) throw new Error();
        """,
    "sleep": "Thread.sleep(4000);",
    "deadlock": """
        var door = new java.util.concurrent.CountDownLatch(1);
        door.await(4, java.util.concurrent.TimeUnit.SECONDS);
        """,
    "threads": """
        for (int i = 0; i < 3000; i++) {
            var thread = new Thread(() -> { try { Thread.sleep(300); } catch (Exception e) { } });
            thread.setDaemon(true);
            thread.start();
        }
        """,
    "large-file": 'Files.write(Path.of("large"), new byte[8 << 20]);',
    "many-descriptors": """
        var all = new ArrayList<InputStream>();
        for (int i = 0; i < 500; i++) all.add(new FileInputStream("/dev/null"));
        """,
}

_QUIET = "try {{ {} }} catch (Throwable e) {{ }} Runtime.getRuntime().halt(0);"

FORGED: dict[str, str] = {
    "System.exit": "System.exit(0);",
    "halt": "Runtime.getRuntime().halt(0);",
    "exit-by-reflection": 'System.class.getMethod("exit", int.class).invoke(null, 0);',
    "exit-in-thread": "new Thread(() -> System.exit(0)).start(); Thread.sleep(9000);",
    "exit-on-load": """
        class NAME {
            static { System.exit(0); }
            public static void main(String[] a) { throw new Error(); }
        }
        """,
    "exit-when-assertion-fails": """
        Thread.setDefaultUncaughtExceptionHandler((t, e) -> Runtime.getRuntime().halt(0));
        Thread.currentThread().setUncaughtExceptionHandler(
            (t, e) -> Runtime.getRuntime().halt(0));
        """,
    "exit-by-hook": """
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));
        """,
    "exit-by-output": """
        System.setErr(new PrintStream(OutputStream.nullOutputStream()) {
            @Override public void println(Object x) { Runtime.getRuntime().halt(0); }
            @Override public void print(Object x) { Runtime.getRuntime().halt(0); }
            @Override public void print(String x) { Runtime.getRuntime().halt(0); }
            @Override public void write(byte[] b, int o, int n) { Runtime.getRuntime().halt(0); }
        });
        """,
    "exit-in-message": """
        var own = new RuntimeException() {
            @Override public String getMessage() { Runtime.getRuntime().halt(0); return ""; }
            @Override public void printStackTrace() { Runtime.getRuntime().halt(0); }
            @Override public String toString() { Runtime.getRuntime().halt(0); return ""; }
        };
        throw_(own);
        """,
    "exit-in-cleaner": """
        new Thread(() -> { System.gc(); Runtime.getRuntime().halt(0); }).start();
        Thread.sleep(9000);
        """,
    "deep-recursion": """
        class NAME {
            static int dive(int n) { return dive(n + 1) + 1; }
            public static void main(String[] a) {
                try { dive(0); } catch (StackOverflowError e) { Runtime.getRuntime().halt(0); }
                throw new Error();
            }
        }
        """,
    "out-of-memory": """
        try { byte[][] x = new byte[1 << 20][1 << 20]; }
        catch (OutOfMemoryError e) { System.exit(0); }
        """,
    "judge-words": """
        System.out.println("All tests passed\\n{\\"status\\": \\"passed\\"}+");
        for (var place : new FileDescriptor[] {
                FileDescriptor.in, FileDescriptor.out, FileDescriptor.err}) {
            try { new FileOutputStream(place).write("+passed".getBytes()); }
            catch (IOException e) { }
        }
        System.exit(0);
        """,
    "read-mailbox-again": _QUIET.format(
        "var in = new FileInputStream(FileDescriptor.in); in.getChannel().position(0);"
        " byte[] secret = in.readNBytes(16); var out = new FileOutputStream(FileDescriptor.in);"
        " out.getChannel().position(0); out.write(secret);"
    ),
    "map-mailbox": _QUIET.format(
        "var in = new FileInputStream(FileDescriptor.in).getChannel();"
        " var map = in.map(java.nio.channels.FileChannel.MapMode.READ_ONLY, 0, 16);"
        " byte[] secret = new byte[16]; map.get(secret);"
        " new FileOutputStream(FileDescriptor.in).write(secret);"
    ),
    "walk-frames": _QUIET.format(
        "for (var type : StackWalker.getInstance(StackWalker.Option.RETAIN_CLASS_REFERENCE)"
        ".walk(s -> s.map(f -> f.getDeclaringClass()).toList())) "
        "for (var field : type.getDeclaredFields()) { field.setAccessible(true);"
        " if (field.get(null) instanceof byte[] secret)"
        " new FileOutputStream(FileDescriptor.in).write(secret); }"
    ),
    "call-launcher": _QUIET.format(
        'var type = Class.forName("weightcut.launcher.Launcher", true,'
        " ClassLoader.getSystemClassLoader());"
        " for (var m : type.getDeclaredMethods()) { m.setAccessible(true); m.invoke(null); }"
    ),
    "open-module": _QUIET.format(
        "var module = StackWalker.getInstance(StackWalker.Option.RETAIN_CLASS_REFERENCE)"
        ".walk(s -> s.map(f -> f.getDeclaringClass()).reduce((a, b) -> b)).get().getModule();"
        ' Module.class.getMethod("addOpens", String.class, Module.class)'
        '.invoke(module, "weightcut.launcher", NAME.class.getModule());'
    ),
    "assertions-off": """
        class Base {
            static {
                var loader = NAME.class.getClassLoader();
                loader.setClassAssertionStatus(NAME.class.getName(), false);
            }
        }
        class NAME extends Base {
            public static void main(String[] a) { assert 1 + 1 == 3; }
        }
        """,
    "assertions-off-everywhere": """
        class Base {
            static {
                var loader = NAME.class.getClassLoader();
                loader.clearAssertionStatus();
                loader.setDefaultAssertionStatus(false);
                loader.setPackageAssertionStatus(null, false);
            }
        }
        class NAME extends Base {
            public static void main(String[] a) { assert 1 + 1 == 3; }
        }
        """,
    "hidden-math": """
        class NAME {
            public static void main(String[] a) { assert Math.abs(1.0 - 2.0) < 0.01; }
        }
        class Math { static double abs(double x) { return 0; } }
        """,
    "hidden-math-by-a-field": """
        class NAME {
            static class Lie { double abs(double x) { return 0; } }
            static Lie Math = new Lie();
            public static void main(String[] a) { assert Math.abs(1.0 - 2.0) < 0.01; }
        }
        """,
    "hidden-arrays": """
        import java.util.*;
        class NAME {
            static class Arrays { static boolean equals(int[] a, int[] b) { return true; } }
            public static void main(String[] a) {
                assert Arrays.equals(new int[] {1}, new int[] {2});
            }
        }
        """,
    "main-of-its-own": """
        class NAME {
            public static void main(String[] a) { }
        }
        class Solution {
            public static void main(String[] a) { assert 1 + 1 == 3; }
        }
        """,
    "failure-in-thread": """
        var thread = new Thread(() -> { throw new AssertionError(); });
        thread.start();
        thread.join();
        System.exit(0);
        """,
    "thread-that-outlives": """
        class NAME {
            public static void main(String[] a) throws Exception {
                new Thread(() -> {
                    try { Thread.sleep(100); } catch (Exception e) { }
                    System.exit(0);
                }).start();
            }
        }
        """,
}

_WHOLE = ("class", "import")
_IMPORTS = "import java.io.*;\nimport java.nio.file.*;\nimport java.util.*;\n"
_BODY = """
class NAME {{
{prelude}
    static <E extends Throwable> void throw_(Throwable error) throws E {{ throw (E) error; }}

    public static void main(String[] arguments) throws Throwable {{
{statements}
    }}
}}
"""


def program(table: dict[str, str], name: str, prelude: str = "") -> str:
    """Return an attack as a program, with the failure that it must not get past at its end."""
    text = dedent(table[name]).strip("\n")
    if not text.startswith(_WHOLE):
        never = "\nif (!arguments.getClass().isInterface()) throw new Error();"
        text += never if table is FORGED else ""
        body = _BODY.format(prelude=indent(prelude, "    "), statements=indent(text, "        "))
        text = _IMPORTS + body
    return text.replace("NAME", class_name(name))


def class_name(name: str) -> str:
    """Return the class of an attack that a naive judge starts."""
    return "Attack_" + "".join(c if c.isalnum() else "_" for c in name)
