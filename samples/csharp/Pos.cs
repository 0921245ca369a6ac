// A cash register in C#: verifies a payer at a Selfsame terminal and gets the payment code.
//
//   Pos.exe pair   TERMINAL NAME         asks for the code on the terminal's screen, prints the token
//   Pos.exe verify TERMINAL REQUEST_ID   TOKEN and, if the cashier asked for them, LAST4 in the environment
//
// TERMINAL is https://NAME:8702 or http://127.0.0.1:8701. On Windows the site's authority.pem goes into "Trusted Root
// Certification Authorities" once (certutil -addstore Root authority.pem); then nothing here is special about TLS.
//
// Compiles as it is with .NET Framework 4.6.1 and later (csc), Mono (mcs) and, as Program.cs, with .NET 6 and later.
// References: System.Runtime.Serialization.

using System;
using System.IO;
using System.Net;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;

[DataContract]
class NewPairing { [DataMember] public string name; }

[DataContract]
class Pairing { [DataMember] public string id; }

[DataContract]
class PairingCode { [DataMember] public string code; }

[DataContract]
class Paired { [DataMember] public string id; [DataMember] public string token; }

[DataContract]
class Identifier { [DataMember] public string kind; [DataMember] public string value; }

[DataContract]
class NewSession
{
    [DataMember] public string request_id;
    [DataMember] public string modality;
    [DataMember(EmitDefaultValue = false)] public Identifier identifier;
}

[DataContract]
class HandoverRequest { [DataMember] public string register; }

[DataContract]
class Handover { [DataMember] public string digits; }

// Answers may get new fields: those that are not named here are ignored.
[DataContract]
class Session
{
    [DataMember] public string id;
    [DataMember] public string state;
    [DataMember] public long sequence;
    [DataMember] public string guidance;
    [DataMember] public string outcome;
    [DataMember] public Handover handover;
}

// A problem document (RFC 9457). Programs look at the code, never at the text.
[DataContract]
class Problem
{
    [DataMember] public string code;
    [DataMember] public string title;
    [DataMember] public string detail;
    [DataMember] public int retry_after_ms;
}

class Refused : Exception
{
    public readonly Problem Problem;
    public Refused(Problem problem) : base(problem.code + ": " + (problem.detail ?? problem.title)) { Problem = problem; }
}

class Terminal
{
    const int AnswerMs = 10000;
    readonly string url;
    readonly string token;

    public Terminal(string url, string token) { this.url = url.TrimEnd('/'); this.token = token; }

    public T Get<T>(string path, int waitMs) { return Call<T>("GET", path, null, waitMs); }

    public T Post<T>(string path, object body) { return Call<T>("POST", path, Json(body), 0); }

    T Call<T>(string method, string path, byte[] body, int waitMs)
    {
        var request = (HttpWebRequest)WebRequest.Create(url + path);
        request.Method = method;
        request.Timeout = AnswerMs + waitMs;
        request.ServicePoint.Expect100Continue = false;
        if (token != null) request.Headers["Authorization"] = "Bearer " + token;
        try
        {
            if (body != null)
            {
                request.ContentType = "application/json";
                using (var stream = request.GetRequestStream()) stream.Write(body, 0, body.Length);
            }
            using (var answer = request.GetResponse()) return Read<T>(answer);
        }
        catch (WebException error)
        {
            // No answer at all is something else than a refusal: repeat the request, it has the same reference.
            if (error.Response == null) throw;
            using (error.Response) throw new Refused(Read<Problem>(error.Response));
        }
    }

    static byte[] Json(object value)
    {
        using (var stream = new MemoryStream())
        {
            new DataContractJsonSerializer(value.GetType()).WriteObject(stream, value);
            return stream.ToArray();
        }
    }

    static T Read<T>(WebResponse answer)
    {
        using (var stream = answer.GetResponseStream())
            return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(stream);
    }
}

static class Pos
{
    const int PollMs = 5000;

    static int Main(string[] arguments)
    {
        if (arguments.Length != 3)
        {
            Console.Error.WriteLine("Pos.exe pair TERMINAL NAME | Pos.exe verify TERMINAL REQUEST_ID");
            return 2;
        }
        try
        {
            return arguments[0] == "pair" ? Pair(arguments[1], arguments[2]) : Verify(arguments[1], arguments[2]);
        }
        catch (Exception error)
        {
            if (!(error is Refused || error is WebException)) throw;
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    static int Pair(string url, string name)
    {
        var terminal = new Terminal(url, null);
        var pairing = terminal.Post<Pairing>("/v1/pairings", new NewPairing { name = name });
        Console.Error.Write("Code on the terminal's screen: ");
        var code = new PairingCode { code = Console.ReadLine() };
        // Shown this once: keep it where only this register can read it, e.g. by DPAPI.
        Console.WriteLine(terminal.Post<Paired>("/v1/pairings/" + pairing.id + "/complete", code).token);
        return 0;
    }

    static int Verify(string url, string requestId)
    {
        var terminal = new Terminal(url, Environment.GetEnvironmentVariable("TOKEN"));
        var last4 = Environment.GetEnvironmentVariable("LAST4");
        var request = new NewSession { request_id = requestId, modality = "finger" };
        if (!string.IsNullOrEmpty(last4)) request.identifier = new Identifier { kind = "phone_last4", value = last4 };
        var session = Ask(terminal, request);
        while (session.state != "done")
        {
            Console.Error.WriteLine(session.state + " " + session.guidance);
            // Answers as soon as something has changed.
            var query = "?after=" + session.sequence + "&wait_ms=" + PollMs;
            session = terminal.Get<Session>("/v1/verifications/" + session.id + query, PollMs);
        }
        if (session.outcome != "passed")
        {
            Console.WriteLine(session.outcome);
            return 1;
        }
        var path = "/v1/verifications/" + session.id + "/handover";
        session = terminal.Post<Session>(path, new HandoverRequest { register = "return" });
        // Here a register charges the digits at the payment server; they are as good as money, so only the end is shown.
        Console.WriteLine("passed, code .." + session.handover.digits.Substring(14));
        return 0;
    }

    // Waits while another register's payer is at the terminal: the same request again is harmless.
    static Session Ask(Terminal terminal, NewSession request)
    {
        while (true)
        {
            try
            {
                return terminal.Post<Session>("/v1/verifications", request);
            }
            catch (Refused refused)
            {
                if (refused.Problem.code != "busy") throw;
                System.Threading.Thread.Sleep(Math.Max(100, refused.Problem.retry_after_ms));
            }
        }
    }
}
