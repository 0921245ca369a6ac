#!/usr/bin/env python3
"""A cash register in Python: pairs with a terminal, then sells by it. Python's standard library only.

    pos.py pair --terminal https://till-1.local:8702 --authority authority.pem --token-file till4.token --name "Till 4"
    pos.py sale --terminal https://till-1.local:8702 --authority authority.pem --token-file till4.token \\
        --server http://192.168.1.10:8700 --key-file merchant.key --order T4-20261124-17 --amount 1250 --currency EUR

`sale` starts the verification of the payer first and asks for the code when the goods are rung up: the two need not
wait for each other. It ends with PAID (exit code 0), NOT PAID (1) or UNKNOWN (3: ask the server by the order before
anything else).
"""

import argparse
import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse

ANSWER_SECONDS = 10
POLL_MS = 5_000
CERTAINTY_SECONDS = 15


class Refused(Exception):
    """A problem document (RFC 9457). Programs look at its `code`, never at its text."""

    def __init__(self, status, problem):
        super().__init__(f"{problem.get('code')}: {problem.get('detail') or problem.get('title')}")
        self.status, self.problem, self.code = status, problem, problem.get("code")


class Service:
    """JSON over HTTP, to the terminal or to the payment server."""

    def __init__(self, url, authority=None, token=None):
        self.url = urllib.parse.urlsplit(url)
        self.token = token
        # Trusts the site's own authority and nobody else; the host name is checked as usual.
        self.tls = ssl.create_default_context(cafile=authority) if self.url.scheme == "https" else None

    def call(self, method, path, body=None, wait_ms=0):
        seconds = ANSWER_SECONDS + wait_ms / 1000
        host, port = self.url.hostname, self.url.port
        if self.tls:
            connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=self.tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        document = json.loads(text) if text else {}
        if answer.status >= 400:
            raise Refused(answer.status, document)
        return answer.status, document


def pair(options):
    terminal = Service(options.terminal, options.authority)
    _, pairing = terminal.call("POST", "/v1/pairings", {"name": options.name})
    while True:
        print("Code on the terminal's screen: ", end="", flush=True)
        code = sys.stdin.readline().strip()
        try:
            _, paired = terminal.call("POST", f"/v1/pairings/{pairing['id']}/complete", {"code": code})
            break
        except Refused as refused:
            if refused.code != "pairing_refused":
                raise
            print(refused, file=sys.stderr)
    # The token is shown this once. Whoever has it can use the terminal: the file is for its owner only.
    with open(os.open(options.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(paired["token"])
    print(f"paired with {paired['terminal']} as {paired['id']}")
    return 0


def verify(terminal, options):
    """Steps 1 and 2: asks the terminal to verify the payer. No amount goes there."""
    request = {"request_id": options.order, "modality": options.modality}
    if options.phone_last4:
        request["identifier"] = {"kind": "phone_last4", "value": options.phone_last4}
    while True:
        try:
            _, session = terminal.call("POST", "/v1/verifications", request)
            return session
        except Refused as refused:
            # Another register's payer is at the terminal. The same request again is harmless.
            if refused.code != "busy":
                raise
            print("the terminal is busy", flush=True)
            time.sleep(refused.problem.get("retry_after_ms", 1_000) / 1000)


def follow(terminal, session):
    """Long poll: answers as soon as something has changed, and at the latest after POLL_MS."""
    shown = None
    while session["state"] != "done":
        now = (session["state"], session.get("guidance"))
        if now != shown:
            print(*[word for word in now if word], flush=True)
            shown = now
        query = f"?after={session['sequence']}&wait_ms={POLL_MS}"
        _, session = terminal.call("GET", f"/v1/verifications/{session['id']}{query}", wait_ms=POLL_MS)
    return session


def charge(server, options, digits):
    """Step 5: the same order as often as it takes to know how it ended."""
    order = {
        "order_ref": options.order,
        "code": digits,
        "amount": {"minor": options.amount, "currency": options.currency},
    }
    give_up = time.monotonic() + CERTAINTY_SECONDS
    while time.monotonic() < give_up:
        try:
            status, payment = server.call("POST", "/v1/payments", order)
            if payment["status"] != "requires_action":
                return "PAID" if payment["status"] == "succeeded" else "NOT PAID"
            # Above a limit: the payer confirms at the terminal. The same order again tells how that went.
            give_up = max(give_up, time.monotonic() + CERTAINTY_SECONDS)
            print("the payer confirms at the terminal", flush=True)
        except Refused as refused:
            if refused.status < 500:
                print(refused, file=sys.stderr)
                return "NOT PAID"
        except (OSError, http.client.HTTPException) as error:
            print(error, file=sys.stderr)
        time.sleep(1)
    return "UNKNOWN"


def sale(options):
    with open(options.token_file) as file:
        terminal = Service(options.terminal, options.authority, file.read().strip())
    with open(options.key_file) as file:
        server = Service(options.server, None, file.read().strip())
    session = follow(terminal, verify(terminal, options))
    if session["outcome"] != "passed":
        print("NOT PAID", session["outcome"])
        return 1
    # The goods are rung up: now the code, which lives for a minute. Again gives a new one and ends the earlier.
    _, session = terminal.call("POST", f"/v1/verifications/{session['id']}/handover", {"register": "return"})
    ending = charge(server, options, session["handover"]["digits"])
    print(ending)
    return {"PAID": 0, "NOT PAID": 1}.get(ending, 3)


def main():
    parser = argparse.ArgumentParser(description="A cash register that sells by a Selfsame terminal")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("pair", "sale"):
        command = commands.add_parser(name)
        command.add_argument("--terminal", required=True, help="https://NAME:8702, or http://127.0.0.1:8701")
        command.add_argument("--authority", help="certificate of the site's authority (authority.pem)")
        command.add_argument("--token-file", required=True)
        if name == "pair":
            command.add_argument("--name", required=True, help="what people call this register")
            continue
        command.add_argument("--server", required=True, help="the payment server")
        command.add_argument("--key-file", required=True, help="file with the merchant's key")
        command.add_argument("--order", required=True, help="reference of the order, unique for ever")
        command.add_argument("--amount", required=True, type=int, help="minor units, e.g. cents")
        command.add_argument("--currency", required=True)
        command.add_argument("--modality", default="finger", choices=["finger", "face"])
        command.add_argument("--phone-last4", help="if the cashier asks for it; else the terminal does")
    options = parser.parse_args()
    try:
        return {"pair": pair, "sale": sale}[options.command](options)
    except ssl.SSLCertVerificationError as error:
        print(f"this is not the site's terminal, or authority.pem is another site's: {error}", file=sys.stderr)
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
