#!/usr/bin/env bash
# Runs every test of the project: unit tests, the black-box tests and the examples of the documentation.
#
# They talk to real programs, which are installed from Debian's packages where they are missing. Nothing is skipped: where
# a program cannot be installed, this fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# program:package (the `perl` of `perl-base` has no Storable; where `json_pp` is, all of Perl is)
needed="strace:strace flock:util-linux setpriv:util-linux openssl:openssl chromium:chromium chromedriver:chromium-driver
    redis-server:redis-server redis-cli:redis-tools memcached:memcached json_pp:perl python3:python3"

missing=
for entry in $needed; do
    command -v "${entry%%:*}" >/dev/null || missing="$missing ${entry##*:}"
done
if [ -n "$missing" ]; then
    echo "== installing$missing"
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -q
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -q -y --no-install-recommends $missing
fi
perl -MStorable -MJSON::PP -MIO::Socket::INET -e 1 # says what is missing, and fails
if [ "$(id -u)" != 0 ]; then
    echo "some tests mount a tiny disk and give files to another user: run this as root" >&2
    exit 1
fi

echo "== unit tests, black-box tests, and the examples of the documentation"
cargo test --all-features

echo "== a store of one's own, which has only what is public"
cargo test --manifest-path tests/own_store/Cargo.toml --target-dir target/own_store
