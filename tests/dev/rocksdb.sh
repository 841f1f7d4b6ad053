# `./dev rocksdb`. Sourced by ./dev, which provides say, die, seconds_since.
# shellcheck shell=bash
#
# Debian compiles RocksDB without -DNDEBUG: every step of a search in a memtable checks the order of its
# neighbours with two more comparisons, and checksums do without the processor's instruction. Here the same
# source package, patches included, is compiled as its authors mean it to be in production.

rocksdb=$PWD/build/rocksdb

# The system's own package sources, asked for source packages. The lists are kept apart from the system's.
source_lists() { # directory
    local codename file
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    mkdir -p "$1/parts" "$1/lists/partial"
    for file in /etc/apt/sources.list.d/*.sources; do
        if grep -qE "^Suites:(.* )?$codename( |\$)" "$file" 2>/dev/null; then
            sed 's/^Types:.*/Types: deb-src/' "$file" >"$1/parts/$(basename "$file")"
        fi
    done
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } | # either form may be absent
        sed -nE "s/^deb ((\[[^]]*\] )?[^ ]+ $codename(-updates|-security)? .*)/deb-src \1/p" >"$1/parts/others.list"
}

apt_apart() { # directory, what apt-get is to do...
    local directory=$1
    shift
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$directory/parts" \
        -o "Dir::State::lists=$directory/lists" -o APT::Sandbox::User= "$@" >>"$rocksdb/log" 2>&1
}

fetch_rocksdb() {
    say "Fetching the source package of RocksDB"
    mkdir -p "$rocksdb/source"
    source_lists "$rocksdb/apt"
    apt_apart "$rocksdb/apt" update || die "the lists of source packages cannot be had; see $rocksdb/log"
    (
        cd "$rocksdb/source" &&
            apt_apart "$rocksdb/apt" source --download-only rocksdb &&
            dpkg-source -x ./*.dsc tree >>"$rocksdb/log" 2>&1
    ) || die "the source package cannot be had; see $rocksdb/log"
}

# One line per twentieth of the way, or a pointer to the log when it fails.
build_rocksdb() {
    local options=(-DWITH_LZ4=ON -DROCKSDB_BUILD_SHARED=OFF -DFAIL_ON_WARNINGS=OFF -DPORTABLE=ON) feature code=0
    # Every x86-64 processor since 2008 has SSE4.2; Debian's baseline does without.
    [[ $(uname -m) != x86_64 ]] || options+=(-DFORCE_SSE42=ON)
    for feature in TESTS TOOLS CORE_TOOLS BENCHMARK_TOOLS GFLAGS; do
        options+=("-DWITH_$feature=OFF")
    done
    say "Building RocksDB; the log is $rocksdb/log"
    cmake -G Ninja -S "$rocksdb/source/tree" -B "$rocksdb/objects" -DCMAKE_BUILD_TYPE=Release \
        "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG" "${options[@]}" >>"$rocksdb/log" 2>&1 ||
        die "configuring RocksDB failed; see the end of $rocksdb/log"
    NINJA_STATUS='%p ' ninja -C "$rocksdb/objects" rocksdb 2>&1 | tee -a "$rocksdb/log" |
        awk '/^ *[0-9]+% / { now = int($1 / 5); if (now > shown) { shown = now; printf "    %s\n", $1 > "/dev/stderr" } }' ||
        code=$?
    [[ $code -eq 0 ]] || die "building RocksDB failed; see the end of $rocksdb/log"
}

install_rocksdb() {
    local version
    version=$(dpkg-parsechangelog -l "$rocksdb/source/tree/debian/changelog" -S Version)
    mkdir -p "$rocksdb/lib/pkgconfig" "$rocksdb/include"
    cp "$rocksdb/objects/librocksdb.a" "$rocksdb/lib/"
    cp -r "$rocksdb/source/tree/include/rocksdb" "$rocksdb/include/"
    # Without the folder's own path: a clone may be moved, and would link the system's library unsaid.
    cat >"$rocksdb/lib/pkgconfig/rocksdb.pc" <<PC
flotilla_build=for production
Name: rocksdb
Description: RocksDB without assertions, made by ./dev rocksdb
Version: ${version%-*}
Cflags: -I\${pcfiledir}/../../include
Libs: -L\${pcfiledir}/.. -lrocksdb -llz4 -lstdc++ -lm -lpthread
PC
    rm -rf "$rocksdb/objects" "$rocksdb/source" "$rocksdb/apt"
    touch "$rocksdb/ready"
}

run_rocksdb() {
    local start=$EPOCHREALTIME
    if [[ ${1:-} == --remove ]]; then
        rm -rf "$rocksdb"
        echo '{"rocksdb":"of the system"}'
        return
    fi
    [[ $# -eq 0 ]] || die "rocksdb: unexpected argument '$1'; see ./dev rocksdb --help"
    if [[ ! -f $rocksdb/ready ]]; then
        rm -rf "$rocksdb"
        mkdir -p "$rocksdb"
        fetch_rocksdb
        build_rocksdb
        install_rocksdb
    fi
    echo "{\"rocksdb\":\"for production\",\"seconds\":$(seconds_since "$start")}"
}
