#!/bin/sh
# Bring the other people's software that the tests talk to, on Debian or Ubuntu as root:
#
#   sh tools/peers.sh            swaks, msmtp, curl, chromium; Postfix's smtp-source and smtp-sink in .peers/
#
# Postfix is unpacked, not installed: installed, it would start a mail server on this machine.
# Without apt, or without the right to use it, it says so and succeeds: tests that miss a peer are skipped.
set -u
cd "$(dirname "$0")/.."
prefix=${PEERS:-$PWD/.peers}
tools="swaks msmtp curl chromium"

skip() {
    echo "peers: $1; tests that need a missing peer will be skipped" >&2
    exit 0
}
missing=
for tool in $tools; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
if [ -z "$missing" ] && [ -x "$prefix/bin/smtp-sink" ] && "$prefix/bin/smtp-sink" -h 2>&1 | grep -q usage; then
    exit 0
fi
command -v apt-get >/dev/null 2>&1 || skip "there is no apt-get here"
[ "$(id -u)" = 0 ] || skip "apt-get needs root (try: sudo sh tools/peers.sh)"

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "peers: looking for$missing smtp-source smtp-sink with apt-get" >&2
apt-get -q update >"$log" 2>&1 || { tail -n 3 "$log" >&2; skip "apt-get update failed"; }
# one at a time: that one has no candidate must not cost the others
for tool in $missing; do
    apt-get -q -y install --no-install-recommends "$tool" >"$log" 2>&1 ||
        { tail -n 3 "$log" >&2; echo "peers: $tool could not be installed" >&2; }
done

# Postfix: its two programs and their libraries, and the system's libraries that those need.
libraries=$(apt-cache depends postfix 2>/dev/null | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
# shellcheck disable=SC2086  # a list of packages
apt-get -q -y install --no-install-recommends $libraries >"$log" 2>&1 ||
    { tail -n 3 "$log" >&2; skip "Postfix's libraries could not be installed"; }
unpacked=$prefix/postfix
rm -rf "$unpacked" && mkdir -p "$unpacked" "$prefix/bin"
fetched=$(mktemp -d)
chmod 755 "$fetched"
(cd "$fetched" && apt-get -q download postfix) >"$log" 2>&1 ||
    { tail -n 3 "$log" >&2; rm -rf "$fetched"; skip "Postfix could not be downloaded"; }
dpkg -x "$fetched"/postfix_*.deb "$unpacked" || skip "Postfix could not be unpacked"
rm -rf "$fetched"
for tool in smtp-source smtp-sink; do
    cat > "$prefix/bin/$tool" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH="$unpacked/usr/lib/postfix\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "$unpacked/usr/sbin/$tool" "\$@"
WRAPPER
    chmod +x "$prefix/bin/$tool"
done
"$prefix/bin/smtp-sink" -h 2>&1 | grep -q usage || skip "smtp-sink does not start"
