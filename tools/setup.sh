#!/bin/sh
# Make .venv fit for one of two purposes, and do nothing when it already is.
#
#   sh tools/setup.sh course    JupyterLab and what the chapters use
#   sh tools/setup.sh test      that, and every tool of the tests and benchmarks
#
# PYTHON=/some/python picks the interpreter. Versions are those of constraints.txt.
set -eu
cd "$(dirname "$0")/.."
want=${1:-course}
case $want in
    course) extras=course ;;
    test) extras=course,test ;;
    *) echo "setup: say 'course' or 'test', not '$want'" >&2; exit 2 ;;
esac

fail() {
    echo "setup: $1" >&2
    exit 1
}
new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

sum=$(cat pyproject.toml constraints.txt tools/setup.sh | cksum)
python=.venv/bin/python
if new_enough "$python"; then
    for stamp in "$want" test; do
        [ "$(cat ".venv/.ready-for-$stamp" 2>/dev/null)" = "$sum" ] && exit 0
    done
fi

uv=$(command -v uv || true)
base=
for candidate in ${PYTHON:-python3 python python3.13 python3.12 python3.11 python3.14}; do
    if new_enough "$candidate"; then base=$candidate; break; fi
done
if ! new_enough "$python"; then
    if [ -z "$base" ] && { [ -z "$uv" ] || [ -n "${PYTHON:-}" ]; }; then
        found=$( (${PYTHON:-python3} --version || true) 2>&1 | head -n 1)
        fail "Python 3.11 or newer is needed; found: ${found:-none}. Install one (3.13 is a good choice), or uv, which brings its own; or name it: make PYTHON=/path/to/python3.13 lab"
    fi
    echo "setup: making .venv with ${base:-a Python that uv brings}" >&2
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --seed --clear --python "${base:-3.13}" .venv ||
            fail "uv could not make .venv; its message is above"
    else
        "$base" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
            fail "this Python has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv. Then run the same command again."
        "$base" -m venv --clear .venv || fail "python -m venv could not make .venv; its message is above"
    fi
fi

if [ -n "$uv" ]; then
    echo "setup: installing for '$want' with uv (a minute the first time)" >&2
    "$uv" pip install --quiet --python "$python" -c constraints.txt -e ".[$extras]" ||
        fail "the installation failed; the message above says where. Is there a network? Run the same command again."
else
    echo "setup: installing for '$want' with pip (a minute or two the first time)" >&2
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
    "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]" ||
        fail "the installation failed; the message above says where. Is there a network? Run the same command again."
fi
# matplotlib announces its first look at the fonts on stderr: let it look now
"$python" -c 'import matplotlib.font_manager' >/dev/null 2>&1 || true
command -v git >/dev/null 2>&1 ||
    echo "setup: git is not installed; the chapters do not need it, but 'make test' compares what git tracks" >&2
rm -f .venv/.ready-for-*
echo "$sum" > ".venv/.ready-for-$want"
