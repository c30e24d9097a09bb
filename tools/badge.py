#!/usr/bin/env python3
"""The link that opens this course on Binder, and its badge: made from the address that git knows.

    python tools/badge.py                                     of the remote `origin`
    python tools/badge.py https://github.com/you/smtp-from-scratch
"""
from __future__ import annotations

import argparse
import re
import subprocess
import sys
from urllib.parse import quote

FIRST = "lab/tree/notebooks/00_start_here.ipynb"
SERVICE = "https://mybinder.org"
REMOTE = re.compile(r"(?:[a-z+]+://)?(?:[^@/]+@)?(?P<host>[^/:]+)(?::\d+)?[/:](?P<path>.+?)(?:\.git)?/?")
PROVIDERS = {"github.com": "gh", "gitlab.com": "gl"}


def link(remote: str, ref: str = "main") -> str:
    """Where Binder builds this repository, and what it opens then. ValueError for what is no address."""
    if not (found := REMOTE.fullmatch(remote.strip())):
        raise ValueError(f"{remote!r} is not the address of a repository")
    host, path = found["host"].lower(), found["path"]
    if (provider := PROVIDERS.get(host)) == "gh":
        where = f"gh/{path}"
    elif provider == "gl":
        where = f"gl/{quote(path, safe='')}"
    else:
        where = f"git/{quote(f'https://{host}/{path}', safe='')}"
    return f"{SERVICE}/v2/{where}/{quote(ref, safe='')}?urlpath={quote(FIRST, safe='')}"


def badge(remote: str, ref: str = "main") -> str:
    """The same as Markdown: a badge that leads there."""
    return f"[![Open on Binder]({SERVICE}/badge_logo.svg)]({link(remote, ref)})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("remote", nargs="?", help="address of the repository (default: that of origin)")
    parser.add_argument("--ref", default="main", help="branch, tag or commit (default main)")
    options = parser.parse_args(arguments)
    remote = options.remote or subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True,
                                              check=False).stdout.strip()
    try:
        if not remote:
            raise ValueError("git knows no remote called origin: name the address of your repository")
        print(link(remote, options.ref), badge(remote, options.ref), sep="\n\n")
    except ValueError as error:
        print(f"badge: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
