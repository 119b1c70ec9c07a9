#!/usr/bin/env bash
# Runs every test of the project: unit tests, the black-box tests and the examples of the documentation.
#
# They talk to real programs, which are installed from Debian's packages where they are missing. Nothing is skipped: where
# a program cannot be installed, this fails. An ordinary user runs what needs root by `sudo` or in a user namespace; what neither
# can do is named at the end, and is a failure unless WITHOUT_ROOT=accepted is set.
set -euo pipefail
cd "$(dirname "$0")/.."

# The `perl` of `perl-base` has no Storable; where `json_pp` is, all of Perl is.
tests/install strace:strace flock:util-linux setpriv:util-linux openssl:openssl chromium:chromium chromedriver:chromium-driver \
    redis-server:redis-server redis-cli:redis-tools memcached:memcached json_pp:perl python3:python3 sqlite3:sqlite3 \
    '/usr/lib/postgresql/*/bin/postgres:postgresql' psql:postgresql-client mariadbd:mariadb-server mariadb:mariadb-client
perl -MStorable -MJSON::PP -MIO::Socket::INET -e 1 # says what is missing, and fails
# These mount a tiny disk; those that follow give files to another user, too.
mounting="directory::a_full_disk_leaves_the_old_session directory::a_full_disk_refuses_no_log_out"
giving="directory::an_unusable_directory_is_refused_with_the_remedy
    directory::foreign_files_are_refused_quickly_and_left_alone
    sql_failures::a_full_disk_of_postgres_leaves_the_old_session_and_refuses_no_log_out"

own_store() {
    echo "== a store of one's own, which has only what is public"
    cargo test --manifest-path tests/own_store/Cargo.toml --target-dir target/own_store
}

guestbook() {
    echo "== the guest book, in a real browser"
    cargo test -p guestbook
}

echo "== unit tests, black-box tests, and the examples of the documentation"
if [ "$(id -u)" = 0 ]; then
    cargo test --all-features
    own_store
    guestbook
    exit
fi
cargo test --all-features -- $(printf -- '--skip %s ' $mounting $giving)
own_store
guestbook

echo "== tests that need root"
tests=$(cargo test --all-features --test all --no-run --message-format=json |
    python3 -c 'import json, sys; print(*filter(None, (json.loads(line).get("executable") for line in sys.stdin)))')

# Runs the tests that are named after `--`, by the command before it, and not one less.
run_by() {
    local by=()
    while [ "$1" != -- ]; do by+=("$1"); shift; done
    shift
    local found
    found=$("$tests" --exact --list "$@" | grep -c ': test$')
    [ "$found" = $# ] || { echo "of the tests that need root, $found of $# are there: $*" >&2; exit 1; }
    "${by[@]}" "$tests" --exact "$@"
}

if sudo -n true 2>/dev/null; then
    run_by sudo -n -- $mounting $giving
elif unshare --user --map-root-user --map-auto --mount true 2>/dev/null; then
    run_by unshare --user --map-root-user --map-auto --mount -- $mounting $giving
else
    not_run="$mounting $giving"
    if unshare --user --map-root-user --mount true 2>/dev/null; then
        run_by unshare --user --map-root-user --mount -- $mounting
        not_run=$giving
    fi
    echo "!! NOT RUN, for they need root (sudo without a password, or user namespaces with a range of ids in /etc/subuid):" >&2
    printf '!!   %s\n' $not_run >&2
    if [ "${WITHOUT_ROOT:-}" != accepted ]; then
        echo "!! this counts as a failure; WITHOUT_ROOT=accepted says that they are run elsewhere" >&2
        exit 1
    fi
fi
