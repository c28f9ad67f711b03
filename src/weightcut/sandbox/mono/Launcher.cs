using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

/// <summary>Runs a program and tells that its Main method came to its end.</summary>
/// <remarks>
/// Standard input is a mailbox, a file in memory. It holds a secret and the program; both are read
/// and removed before the program starts, and the secret goes back into it once Main has returned.
/// What could find it (native code, reflection, memory without rules) is refused by Rules.
/// </remarks>
static class Launcher
{
    const int SecretBytes = 16;
    const int Mailbox = 0;

    [DllImport("libc")]
    static extern int ftruncate(int descriptor, long length);

    [DllImport("libc")]
    static extern long lseek(int descriptor, long offset, int from);

    [DllImport("libc")]
    static extern IntPtr write(int descriptor, byte[] data, UIntPtr length);

    static int Main()
    {
        var all = new MemoryStream();
        Console.OpenStandardInput().CopyTo(all);
        if (ftruncate(Mailbox, 0) != 0 || lseek(Mailbox, 0, 0) != 0)
        {
            return 1;
        }
        byte[] content = all.ToArray();
        var secret = new byte[SecretBytes];
        Array.Copy(content, secret, SecretBytes);
        var code = new byte[content.Length - SecretBytes];
        Array.Copy(content, SecretBytes, code, 0, code.Length);
        Array.Clear(content, 0, content.Length);
        Console.SetIn(TextReader.Null);
        Debug.Listeners.Clear();
        Debug.Listeners.Add(new Failing());
        byte[] report;
        try
        {
            report = Run(code) ? secret : Encoding.UTF8.GetBytes("{\"error\": \"error\"}");
        }
        catch (TargetInvocationException error)
        {
            report = Report(error.InnerException);
        }
        catch (Exception error)
        {
            report = Report(error);
        }
        Console.Out.Flush();
        Console.Error.Flush();
        write(Mailbox, report, (UIntPtr)report.Length);
        Environment.Exit(0);
        return 0;
    }

    static bool Run(byte[] code)
    {
        Assembly program = Assembly.Load(code);
        string broken = Rules.BrokenBy(program);
        if (broken != null)
        {
            throw new UnauthorizedAccessException("a program may not use " + broken);
        }
        MethodInfo main = program.EntryPoint;
        var arguments = main.GetParameters().Length == 0
            ? new object[0] : new object[] { new string[0] };
        object result = main.Invoke(null, arguments);
        if (Failing.Failed)
        {
            return false;
        }
        if (result is int && (int)result != 0)
        {
            Console.Error.WriteLine("[Main returned " + result + "]");
            return false;
        }
        return true;
    }

    static byte[] Report(Exception error)
    {
        Console.Error.WriteLine(error);
        string kind = "error";
        for (int depth = 0; error != null && depth < 100; error = error.InnerException, depth++)
        {
            if (error is OutOfMemoryException || error is InsufficientMemoryException)
            {
                kind = "memory";
            }
            else if (error is UnauthorizedAccessException
                || error is System.Security.SecurityException
                || error is System.Net.Sockets.SocketException
                || error.Message.Contains("Operation not permitted"))
            {
                kind = "blocked";
            }
        }
        return Encoding.UTF8.GetBytes("{\"error\": \"" + kind + "\"}");
    }

    /// <summary>Makes a failed Debug.Assert fail the program.</summary>
    sealed class Failing : TraceListener
    {
        internal static volatile bool Failed;

        public override void Fail(string message, string detail)
        {
            Failed = true;
            throw new Exception("assertion failed: " + message + " " + detail);
        }

        public override void Fail(string message)
        {
            Fail(message, "");
        }

        public override void Write(string message)
        {
            Console.Error.Write(message);
        }

        public override void WriteLine(string message)
        {
            Console.Error.WriteLine(message);
        }
    }
}

/// <summary>What a program may refer to, so that no managed code of its own reaches further.</summary>
/// <remarks>
/// Read from the tables of the assembly: every type and member of another assembly that its
/// code can touch stands there. mcs compiles without -unsafe, so that there are no pointers.
/// </remarks>
static class Rules
{
    const int TypeReferences = 0x01000000;
    const int MemberReferences = 0x0A000000;
    const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static
        | BindingFlags.Instance | BindingFlags.DeclaredOnly;

    static readonly HashSet<string> Namespaces = new HashSet<string>
    {
        "System", "System.Collections", "System.Collections.Concurrent",
        "System.Collections.Generic", "System.Collections.ObjectModel",
        "System.Collections.Specialized", "System.Globalization", "System.IO", "System.Linq",
        "System.Numerics", "System.Runtime.CompilerServices", "System.Text",
        "System.Text.RegularExpressions", "System.Threading", "System.Threading.Tasks",
    };

    static readonly HashSet<string> Types = new HashSet<string>
    {
        "System.Diagnostics.Debug", "System.Diagnostics.Stopwatch", "System.Diagnostics.Trace",
        "System.Reflection.MemberInfo", "System.Security.Cryptography.HashAlgorithm",
        "System.Security.Cryptography.MD5", "System.Security.Cryptography.SHA1",
        "System.Security.Cryptography.SHA256", "System.Security.Cryptography.SHA512",
    };

    /// <summary>Doors to reflection, other domains, handles and memory, in allowed namespaces.</summary>
    static readonly HashSet<string> Doors = new HashSet<string>
    {
        "System.AppDomain", "System.AppDomainManager", "System.AppDomainSetup",
        "System.ArgIterator", "System.IO.UnmanagedMemoryAccessor",
        "System.IO.UnmanagedMemoryStream", "System.ModuleHandle", "System.RuntimeArgumentHandle",
        "System.RuntimeMethodHandle", "System.Runtime.CompilerServices.Unsafe",
        "System.TypedReference", "System._AppDomain",
    };

    /// <summary>Of these types only the members that are named.</summary>
    static readonly Dictionary<string, string> Members = new Dictionary<string, string>
    {
        { "System.Type", " GetTypeFromHandle get_FullName get_Namespace get_IsArray get_IsEnum"
            + " get_IsGenericType get_IsPrimitive get_IsValueType get_BaseType op_Equality"
            + " op_Inequality Equals GetHashCode GetTypeCode IsAssignableFrom IsInstanceOfType"
            + " ToString " },
        { "System.Reflection.MemberInfo", " get_Name " },
        { "System.Delegate", " Combine Remove op_Equality op_Inequality Equals GetHashCode " },
        { "System.MulticastDelegate", " .ctor op_Equality op_Inequality Equals GetHashCode " },
        { "System.Diagnostics.Debug", " Assert Fail Write WriteLine WriteIf WriteLineIf Print " },
        { "System.Diagnostics.Trace", " Assert Fail Write WriteLine WriteIf WriteLineIf " },
    };

    /// <summary>Names that a test relies on: a type of the program's own would stand for them.</summary>
    static readonly HashSet<string> Reserved = new HashSet<string>
    {
        "Array", "Console", "Convert", "Debug", "Enumerable", "Environment", "Exception", "Math",
        "Object", "String", "Trace",
    };

    /// <summary>Return the first thing that the program may not have; null if there is none.</summary>
    internal static string BrokenBy(Assembly program)
    {
        foreach (Type type in program.GetTypes())
        {
            if (type.IsExplicitLayout)
            {
                return "fields that overlap (" + type + ")";
            }
            if (Reserved.Contains(type.Name))
            {
                return "a type of its own named " + type.Name;
            }
            string shadow = ShadowIn(type);
            if (shadow != null)
            {
                return shadow;
            }
            foreach (MethodInfo method in type.GetMethods(All))
            {
                MethodImplAttributes kind = method.GetMethodImplementationFlags();
                MethodImplAttributes code = kind & MethodImplAttributes.CodeTypeMask;
                if ((method.Attributes & MethodAttributes.PinvokeImpl) != 0
                    || (kind & MethodImplAttributes.InternalCall) != 0
                    || (kind & MethodImplAttributes.Unmanaged) != 0
                    || code == MethodImplAttributes.Native || code == MethodImplAttributes.OPTIL)
                {
                    return "native code (" + method.Name + ")";
                }
            }
        }
        Module module = program.ManifestModule;
        for (int row = 1; ; row++)
        {
            try
            {
                Type type = module.ResolveType(TypeReferences + row);
                if (!Allowed(type))
                {
                    return type.FullName;
                }
            }
            catch (ArgumentOutOfRangeException)
            {
                break;
            }
        }
        for (int row = 1; ; row++)
        {
            try
            {
                MemberInfo member = module.ResolveMember(MemberReferences + row);
                string named;
                // What `new T()` is compiled to has no parameters; all others take any type.
                if (member.DeclaringType == typeof(Activator)
                    && ((MethodBase)member).GetParameters().Length != 0)
                {
                    return "System.Activator." + member.Name;
                }
                if (member.DeclaringType != null
                    && Members.TryGetValue(member.DeclaringType.FullName ?? "", out named)
                    && !named.Contains(" " + member.Name + " "))
                {
                    return member.DeclaringType.FullName + "." + member.Name;
                }
            }
            catch (ArgumentOutOfRangeException)
            {
                break;
            }
        }
        return null;
    }

    /// <summary>A member, or a parameter of a generic type, that takes a reserved name.</summary>
    static string ShadowIn(Type type)
    {
        foreach (Type parameter in type.GetGenericArguments())
        {
            if (Reserved.Contains(parameter.Name))
            {
                return "a type of its own named " + parameter.Name;
            }
        }
        foreach (FieldInfo field in type.GetFields(All))
        {
            if (Reserved.Contains(field.Name) && field.FieldType.Assembly == type.Assembly)
            {
                return "an object of its own named " + field.Name;
            }
        }
        foreach (PropertyInfo one in type.GetProperties(All))
        {
            if (Reserved.Contains(one.Name) && one.PropertyType.Assembly == type.Assembly)
            {
                return "an object of its own named " + one.Name;
            }
        }
        foreach (MethodInfo method in type.GetMethods(All))
        {
            if (method.IsDefined(typeof(ExtensionAttribute), false)
                && typeof(Enumerable).GetMember(method.Name).Length != 0)
            {
                return "an extension method of its own named " + method.Name;
            }
        }
        return null;
    }

    static bool Allowed(Type type)
    {
        while (type.DeclaringType != null)
        {
            type = type.DeclaringType;
        }
        string name = type.FullName;
        return typeof(Attribute).IsAssignableFrom(type) || Types.Contains(name)
            || (Namespaces.Contains(type.Namespace ?? "") && !Doors.Contains(name)
                && !name.StartsWith("System.Runtime.CompilerServices.CallSite"));
    }
}
