"""Other people's clients as commands for `check-client`: what is filled in stands in braces."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PEERS = Path(os.environ.get("PEERS", Path(__file__).resolve().parents[2] / ".peers"))

SMTPLIB = """
import argparse, smtplib, ssl, sys
parser = argparse.ArgumentParser()
for name in "host", "port", "sender", "file", "recipients":
    parser.add_argument(name, nargs="+" if name == "recipients" else None)
for name in "--ca-file", "--user", "--password":
    parser.add_argument(name)
o = parser.parse_args()
with smtplib.SMTP(o.host, int(o.port), timeout=20) as smtp:
    if o.ca_file:
        smtp.starttls(context=ssl.create_default_context(cafile=o.ca_file))
    if o.user:
        smtp.login(o.user, o.password)
    wide = [] if "".join(o.recipients).isascii() else ["SMTPUTF8"]
    if smtp.sendmail(o.sender, o.recipients, open(o.file, "rb").read(), wide):
        sys.exit(1)
"""

NODEMAILER = """
const fs = require("fs"), { parseArgs } = require("util"), options = {};
for (const name of ["ca-file", "user", "password"]) options[name] = { type: "string" };
const { values: o, positionals } = parseArgs({ args: process.argv.slice(1), options, allowPositionals: true });
const [host, port, from, file, ...to] = positionals;
const transport = require("nodemailer").createTransport({
  host, port: Number(port), name: "client.example", requireTLS: "ca-file" in o, ignoreTLS: !("ca-file" in o),
  tls: "ca-file" in o ? { ca: fs.readFileSync(o["ca-file"]) } : {},
  auth: "user" in o ? { user: o.user, pass: o.password } : undefined,
  connectionTimeout: 20000, greetingTimeout: 20000, socketTimeout: 20000,
});
transport.sendMail({ envelope: { from, to }, raw: fs.readFileSync(file) }).then(
  (info) => process.exit(info.rejected.length ? 1 : 0),
  (error) => { console.error(String(error)); process.exit(1); });
"""

OPTIONS = ["[", "--ca-file", "{ca_file}", "]", "[", "--user", "{user}", "--password", "{password}", "]"]
SCRIPT = [*OPTIONS, "--", "{host}", "{port}", "{sender}", "{file}", "{recipients}"]

COMMANDS = {
    "smtplib": [sys.executable, "-c", SMTPLIB, *SCRIPT],
    "nodemailer": ["node", "-e", NODEMAILER, "--", *SCRIPT],
    "curl": ["curl", "-sS", "--max-time", "30", "--url", "smtp://{host}:{port}/client.example",
             "--mail-from", "{sender}", "--mail-rcpt", "{recipients}", "-T", "{file}",
             "[", "-u", "{user}:{password}", "]", "[", "--ssl-reqd", "--cacert", "{ca_file}", "]"],
    "msmtp": ["sh", "-c", 'exec "$@" < "$0"', "{file}", "msmtp", "--file=/dev/null", "--host={host}", "--port={port}",
              "--domain=client.example", "--from={sender}", "--timeout=20",
              "[", "--auth=on", "--user={user}", "--passwordeval=cat {password_file}", "]",
              "[", "--tls=on", "--tls-starttls=on", "--tls-trust-file={ca_file}", "]", "--", "{recipients}"],
    "swaks": ["swaks", "--server", "{host}", "--port", "{port}", "--helo", "client.example", "--from", "{sender}",
              "--to", "{recipients,}", "--data", "@{file}", "--timeout", "20", "--suppress-data",
              "[", "--auth-user", "{user}", "--auth-password", "{password}", "--auth", "]",
              "[", "--tls", "--tls-verify", "--tls-ca-path", "{ca_file}", "]"],
}


def installed(name: str) -> bool:
    """Whether a client is here."""
    if name == "nodemailer":
        return shutil.which("node") is not None and (PEERS / "node" / "node_modules" / "nodemailer").is_dir()
    return name == "smtplib" or shutil.which(name) is not None
