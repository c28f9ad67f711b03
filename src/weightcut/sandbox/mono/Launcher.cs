using System;
using System.Diagnostics;
using System.IO;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;

/// <summary>Runs a program and tells that its Main method came to its end.</summary>
/// <remarks>
/// Standard input is a mailbox, a file in memory. It holds a secret and the program; both are read
/// and removed before the program starts, and the secret goes back into it once Main has returned.
/// A program that calls native code or searches memory could find it: see weightcut.sandbox.
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
        MethodInfo main = Assembly.Load(code).EntryPoint;
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
