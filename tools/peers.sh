#!/bin/sh
# Bring the other people's software that the tests talk to, on Debian or Ubuntu as root:
#
#   sh tools/peers.sh            clients: swaks, msmtp, mpop, curl, chromium, what Perl's Net::SMTP needs for TLS and AUTH;
#                                servers in .peers/: Postfix (smtp-source and smtp-sink too), Exim, OpenSMTPD;
#                                in .peers/node: nodemailer and smtp-server, where npm is
#
# Mail servers are unpacked, each into a folder of its own, never installed: installed, they would exclude one
# another, and start. What cannot be had is named, and the rest still comes: tests that miss a peer are skipped.
set -u
cd "$(dirname "$0")/.."
prefix=${PEERS:-$PWD/.peers}
tools="swaks msmtp mpop curl chromium"
perl_modules="libio-socket-ssl-perl libauthen-sasl-perl libdigest-hmac-perl"
libraries="libnss-wrapper libsasl2-modules libsasl2-modules-db"

say() { echo "peers: $1" >&2; }

# --- what is there already -------------------------------------------------------------------------------------------

# A program is there if nothing that it needs is missing.
runs() {
    [ -x "$1" ] && ! LD_LIBRARY_PATH="$prefix/postfix/usr/lib/postfix" ldd "$1" 2>/dev/null | grep -q "not found"
}
has() {
    case $1 in
    postfix) runs "$prefix/postfix/usr/sbin/smtp-sink" && runs "$prefix/postfix/usr/lib/postfix/sbin/smtpd" &&
        "$prefix/bin/smtp-sink" -h 2>&1 | grep -q usage ;;
    exim4-daemon-heavy) runs "$prefix/exim4-daemon-heavy/usr/sbin/exim4" ;;
    opensmtpd) runs "$prefix/opensmtpd/usr/sbin/smtpd" ;;
    sasl2-bin) runs "$prefix/sasl2-bin/usr/sbin/saslpasswd2" ;;
    perl) perl -MNet::SMTP -MIO::Socket::SSL -MAuthen::SASL -MDigest::HMAC -e 1 2>/dev/null ;;
    libraries) for file in libnss_wrapper.so sasl2/libscram.so sasl2/libsasldb.so; do
        ls /usr/lib/*/"$file" >/dev/null 2>&1 || return 1; done ;;
    node) [ -d "$prefix/node/node_modules/nodemailer" ] && [ -d "$prefix/node/node_modules/smtp-server" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing=
for thing in $tools perl libraries postfix exim4-daemon-heavy opensmtpd sasl2-bin; do
    has "$thing" || missing="$missing $thing"
done

# --- from npm --------------------------------------------------------------------------------------------------------

if ! has node; then
    if command -v npm >/dev/null 2>&1; then
        say "installing nodemailer and smtp-server with npm"
        mkdir -p "$prefix/node"
        npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts --prefix "$prefix/node" \
            nodemailer smtp-server >&2 || say "nodemailer and smtp-server could not be installed"
    else
        say "there is no npm here: nodemailer and smtp-server are left out"
    fi
fi

# --- from apt --------------------------------------------------------------------------------------------------------

skip() {
    say "$1; tests that need$missing will be skipped"
    exit 0
}
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || skip "there is no apt-get here"
[ "$(id -u)" = 0 ] || skip "apt-get needs root (try: sudo sh tools/peers.sh)"

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
fetched=
trap 'rm -rf "$log" "$fetched"' EXIT
say "looking for$missing with apt-get"
apt-get -q update >"$log" 2>&1 || { tail -n 3 "$log" >&2; skip "apt-get update failed"; }

apt_install() {
    apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-upgrade --no-install-recommends "$@" >"$log" 2>&1
}
install() {
    apt_install "$@" && return
    # one at a time then: that one has no candidate must not cost the others
    for package in "$@"; do
        apt_install "$package" || { tail -n 3 "$log" >&2; say "$package could not be installed"; }
    done
}

# A package's files into a folder of its own, and into the system only the libraries that they need.
unpack() {
    # shellcheck disable=SC2046  # a list of packages
    install $(apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | grep -v '^libc6$')
    rm -rf "$prefix/$1" "$fetched"
    mkdir -p "$prefix/$1" "$prefix/bin"
    fetched=$(mktemp -d)
    chmod 755 "$fetched"
    if (cd "$fetched" && apt-get -q download "$1") >"$log" 2>&1 && dpkg -x "$fetched"/*.deb "$prefix/$1"; then
        find "$prefix/$1" -perm /6000 -exec chmod ug-s {} +  # nobody gains a right through a file of ours
        return 0
    fi
    tail -n 3 "$log" >&2
    say "$1 could not be unpacked"
    return 1
}

# Two of Postfix's programs that clients of ours call by name.
wrap_postfix() {
    for tool in smtp-source smtp-sink; do
        cat > "$prefix/bin/$tool" <<WRAPPER
#!/bin/sh
here=$prefix/postfix/usr
LD_LIBRARY_PATH="\$here/lib/postfix\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/sbin/$tool" "\$@"
WRAPPER
        chmod +x "$prefix/bin/$tool"
    done
}

for thing in $missing; do
    # shellcheck disable=SC2086  # lists of packages
    case $thing in
    postfix) unpack postfix && wrap_postfix ;;
    exim4-daemon-heavy | opensmtpd | sasl2-bin) unpack "$thing" ;;
    perl) install perl $perl_modules ;;
    libraries) install $libraries ;;
    *) install "$thing" ;;
    esac
    has "$thing" || say "$thing is missing: tests that need it will be skipped"
done
exit 0
