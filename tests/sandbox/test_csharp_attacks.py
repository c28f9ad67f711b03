"""Programs in C# that reach for a pass: each runs to its end without the sandbox, none within."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from weightcut.sandbox import Sandbox, csharp, missing

if reason := missing("csharp"):
    pytest.skip(reason, allow_module_level=True)

USING = """
using System; using System.Collections.Generic; using System.Diagnostics; using System.IO;
using System.Linq; using System.Reflection; using System.Runtime.InteropServices;
"""
ATTACKS: dict[str, str] = {
    # native code, and memory without rules
    "native call": """
        [DllImport("libc")] static extern int getpid();
        static void Main() { getpid(); }
        """,
    "marshal": "static void Main() { Marshal.WriteByte(Marshal.AllocHGlobal(1), 7); }",
    "handle": "static void Main() { GCHandle.Alloc(new object()); }",
    "overlapping fields": """
        class Box { public int Value; }
        [StructLayout(LayoutKind.Explicit)] struct Two {
            [FieldOffset(0)] public object Any; [FieldOffset(0)] public Box Box; }
        static void Main() { var two = new Two(); two.Any = "ab"; var found = two.Box.Value; }
        """,
    "own memory": """
        static void Main() { File.OpenRead("/proc/self/mem"); }
        """,
    "mapped file": """
        static void Main() {
            System.IO.MemoryMappedFiles.MemoryMappedFile.CreateFromFile("/proc/self/exe",
                FileMode.Open, null, 0,
                System.IO.MemoryMappedFiles.MemoryMappedFileAccess.Read); }
        """,
    # reflection and code made at run time
    "invoke": """
        static void Main() { typeof(int).GetMethod("Parse", new[] { typeof(string) })
            .Invoke(null, new object[] { "3" }); }
        """,
    "invoke member": """
        static void Main() { typeof(Math).InvokeMember("Abs", (BindingFlags)280, null, null,
            new object[] { -1 }); }
        """,
    "type by name": """
        static void Main() { Type.GetType("System.Runtime.InteropServices.Marshal", true); }
        """,
    "types of an assembly": "static void Main() { typeof(int).Assembly.GetTypes(); }",
    "delegate by name": """
        public static int One() { return 1; }
        static void Main() { Delegate.CreateDelegate(typeof(Func<int>), typeof(A), "One"); }
        """,
    "method of a delegate": """
        static void Main() { Action f = Console.WriteLine; f.Method.ToString(); }
        """,
    "emitted code": """
        static void Main() { new System.Reflection.Emit.DynamicMethod("m", typeof(int), null)
            .GetILGenerator(); }
        """,
    "compiled expression": """
        static void Main() { System.Linq.Expressions.Expression<Func<int>> e = () => 1;
            e.Compile()(); }
        """,
    "expression by name": """
        static void Main() { System.Linq.Expressions.Expression.Call(typeof(Console),
            "WriteLine", new Type[0]); }
        """,
    "instance of any type": "static void Main() { Activator.CreateInstance(typeof(object)); }",
    "domain": "static void Main() { AppDomain.CurrentDomain.GetAssemblies(); }",
    "entry assembly": "static void Main() { Assembly.GetEntryAssembly().ToString(); }",
    "callers": "static void Main() { new StackTrace().GetFrame(0).GetMethod().ToString(); }",
    "serialized objects": """
        static void Main() {
            new System.Runtime.Serialization.Formatters.Binary.BinaryFormatter().Serialize(
                new MemoryStream(), 1); }
        """,
    "compiler": "static void Main() { new Microsoft.CSharp.CSharpCodeProvider(); }",
    # assertions that cannot fail
    "no listeners": "static void Main() { Debug.Listeners.Clear(); Debug.Assert(false); }",
    "no listeners of traces": """
        static void Main() { Trace.Listeners.Clear(); Debug.Assert(false); }
        """,
    "own assertions": """
        static class Debug { public static void Assert(bool right) { } }
        static void Main() { Debug.Assert(false); }
        """,
    "own object for assertions": """
        class Mine { public void Assert(bool right) { } }
        static Mine Debug = new Mine();
        static void Main() { Debug.Assert(false); }
        """,
    "own property for assertions": """
        class Mine { public void Assert(bool right) { } }
        static Mine Debug { get { return new Mine(); } }
        static void Main() { Debug.Assert(false); }
        """,
    "own parameter for assertions": """
        class Mine { public void Assert(bool right) { } }
        class Of<Debug> where Debug : Mine, new() {
            Debug one = new Debug(); public void Go() { one.Assert(false); } }
        static void Main() { new Of<Mine>().Go(); }
        """,
    "own comparison": """
        static void Main() { Debug.Assert(new[] { 1 }.SequenceEqual(new[] { 2 })); } }
        static class Own {
            public static bool SequenceEqual(this int[] one, int[] other) { return true; }
        """,
    # leaving early
    "exit": "static void Main() { Environment.Exit(0); }",
}
MINE = "class Mine { public static void Assert(bool right) { } }"
FAILING = f"{MINE} class A {{ static void Main() {{ Debug.Assert(false); }} }}"
# Files as a whole: what stands before the first class makes the assertion in it void.
FILES: dict[str, str] = {
    "alias": f"using Debug = Mine; {FAILING}",
    "alias in a namespace": f"namespace X {{ using Debug = Mine; {FAILING} }}",
    "alias after a comment": f"using /* /* ; */ // =\u2028 @Debug/**/ = Mine; {FAILING}",
    "alias after odd spaces": f"using\0Debug\u3000=\x85Mine; {FAILING}",
    "alias in escapes": f"using \\u0044e\\U00000062ug = Mine; {FAILING}",
    "alias after an escape in a comment": f"using /* \\u002a/ foo */ Debug = Mine; {FAILING}",
    "alias after a directive": f"using\n#if NO\nfoo\n#endif\nDebug = Mine; {FAILING}",
    "alias around a region": f"using Debug\n#region one\n#endregion\n= Mine; {FAILING}",
    "alias behind many": f"{'using System; ' * 400} using Debug = Mine; {FAILING}",
    "no assertions": f"#undef DEBUG\nusing System.Diagnostics; {FAILING}",
    "no assertions, in escapes": f"# undef D\\u0045BUG\nusing System.Diagnostics; {FAILING}",
}
HONEST: dict[str, str] = {
    "collections": """
        static void Main() {
            var found = new Dictionary<string, List<int>> { { "a", new List<int> { 3, 1 } } };
            foreach (var pair in found) pair.Value.Sort();
            Debug.Assert(found["a"].SequenceEqual(new[] { 1, 3 }));
            Debug.Assert(new HashSet<int>(found["a"]).Count == 2 && found.Keys.First() == "a"); }
        """,
    "generics": """
        class Node<T> where T : IComparable<T> {
            readonly List<T> all = new List<T>();
            public T Best { get { return all.Max(); } }
            public Node<T> Add(T one) { all.Add(one); return this; }
            public static U New<U>() where U : new() { return new U(); }
            public IEnumerable<U> Map<U>(Func<T, U> f) {
                foreach (T one in all) yield return f(one); } }
        static void Main() { var node = new Node<string>().Add("a").Add("b");
            Debug.Assert(node.Best == "b" && node.Map(s => s.Length).Sum() == 2);
            Debug.Assert(Node<int>.New<List<int>>().Count == 0); }
        """,
    "language": """
        struct Point { public int X; public int this[int i] { get { return X + i; } } }
        enum Side { Left, Right }
        delegate int Turn(int x);
        class Own : Exception { public Own(string said) : base(said) { } }
        static async System.Threading.Tasks.Task<int> Later() {
            await System.Threading.Tasks.Task.Delay(1); return 2; }
        static void Main() {
            var pair = (1, "a"); Turn turn = x => x + 1; turn += x => x * 2;
            int[] table = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
            try { throw new Own("x"); } catch (Own own) when (own.Message == "x") { }
            lock (table) { Debug.Assert(Later().Result == 2); }
            Debug.Assert(turn(3) == 6 && pair.Item2 + typeof(Point).Name == "aPoint");
            Debug.Assert($"{Side.Right}:{1.5:F2}" == "Right:1.50" && new Point()[3] == 3);
            var md5 = System.Security.Cryptography.MD5.Create();
            Debug.Assert(md5.ComputeHash(System.Text.Encoding.ASCII.GetBytes("a"))[0] == 0x0c);
            Debug.Assert(System.Numerics.BigInteger.Pow(2, 70) > table.Sum());
            Debug.Assert(System.Text.RegularExpressions.Regex.IsMatch("a1", "[a-z]\\\\d")); }
        """,
}


def whole(members: str) -> str:
    return f"{USING}class A {{ {members} }}"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as two:
        yield two


@pytest.mark.parametrize("name", [*ATTACKS, *FILES])
def test_attack_is_stopped(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    program = FILES[name] if name in FILES else whole(ATTACKS[name])
    (tmp_path / "a.cs").write_text(program, encoding="utf-8")
    mcs, mono = shutil.which("mcs"), shutil.which("mono")
    assert mcs
    assert mono
    build = [mcs, "-langversion:latest", "-warn:0", "-codepage:utf8", "-d:DEBUG",
             "-r:System.Numerics.dll", "a.cs"]  # fmt: skip
    subprocess.run(build, cwd=tmp_path, check=True, timeout=120)
    alone = subprocess.run(
        [mono, "a.exe"], cwd=tmp_path, capture_output=True, check=False, timeout=120
    )
    assert alone.returncode == 0, "the attack does not work even without the sandbox"
    result = sandbox.run_program(program, language="csharp", timeout=5)
    # Whatever else a program fails by, not compiling for instance, would prove nothing.
    assert result.status == ("failed" if name == "exit" else "blocked"), result.output


@pytest.mark.parametrize("name", HONEST)
def test_honest_programs_pass(sandbox: Sandbox, name: str) -> None:
    result = sandbox.run_program(whole(HONEST[name]), language="csharp", timeout=5)
    assert result.status == "passed", result.output


def test_what_is_refused_is_named(sandbox: Sandbox) -> None:
    result = sandbox.run_program(whole(ATTACKS["marshal"]), language="csharp", timeout=5)
    assert result.status == "blocked"
    assert "a program may not use System.Runtime.InteropServices.Marshal" in result.output


def test_the_compilers_side_and_the_launchers_side_reserve_the_same_names() -> None:
    source = (Path(csharp.__file__).parent / "mono" / "Launcher.cs").read_text()
    block = source.split("HashSet<string> Reserved", 1)[1].split("};", 1)[0]
    assert sorted(re.findall(r'"(\w+)"', block)) == sorted(csharp.RESERVED)
