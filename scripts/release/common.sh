# What the scripts of a release share. Sourced, from the top of the repository.

DIST=target/dist
LINUX=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu)
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

say() { printf '\n==> %s\n' "$*" >&2; }
die() { printf 'release: %s\n' "$*" >&2; exit 1; }

. scripts/setup.sh

host() { rustc -vV | sed -n 's/^host: //p'; }

# Operator and dashboard run on Linux, in a cluster.
programs_of() { # TARGET
    case $1 in
        *-linux-*) echo jobqueue jobqueue-worker jobqueue-operator jobqueue-dashboard ;;
        *) echo jobqueue jobqueue-worker ;;
    esac
}

package_of() { # PROGRAM
    case $1 in jobqueue) echo jobqueue-cli ;; *) echo "$1" ;; esac
}

# Debian's and the container images' word for the processor of a target.
architecture() { # TARGET
    case $1 in x86_64-*) echo amd64 ;; aarch64-*) echo arm64 ;; *) die "no architecture is known of $1" ;; esac
}
