# `./dev libraries`. Sourced by ./dev, which provides say, die, seconds_since.
# shellcheck shell=bash
#
# Debian compiles RocksDB, gRPC and Abseil without -DNDEBUG: every step of a search in a memtable checks the
# order of its neighbours with two more comparisons, checksums do without the processor's instruction, and
# every step of a call checks what its author wanted to be sure of. Here the same source packages, patches
# included, are compiled as their authors mean them to be in production, for link-time optimisation.

libraries=$PWD/build/libraries
work=$libraries/work

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
        -o "Dir::State::lists=$directory/lists" -o APT::Sandbox::User= "$@" >>"$libraries/log" 2>&1
}

fetch() { # source package; its tree is then $work/NAME/tree
    say "Fetching the source package $1"
    mkdir -p "$work/$1"
    (
        cd "$work/$1" &&
            apt_apart "$work/apt" source --download-only "$1" &&
            dpkg-source -x ./*.dsc tree >>"$libraries/log" 2>&1
    ) || die "the source package $1 cannot be had; see $libraries/log"
}

# One line per tenth of the way, or a pointer to the log when it fails.
compile() { # source package, targets, options of cmake...
    local name=$1 targets=$2 flags="-O3 -DNDEBUG -flto=auto -fPIC -w" code=0
    shift 2
    # Every x86-64 processor since 2008 has SSE4.2; Debian's baseline does without.
    [[ $(uname -m) != x86_64 ]] || flags+=" -msse4.2 -mpclmul"
    fetch "$name"
    say "Building $name; the log is $libraries/log"
    cmake -G Ninja -S "$work/$name/tree" -B "$work/$name/objects" -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_SHARED_LIBS=OFF -DCMAKE_AR=/usr/bin/gcc-ar -DCMAKE_RANLIB=/usr/bin/gcc-ranlib \
        -DCMAKE_CXX_STANDARD=17 "-DCMAKE_CXX_FLAGS_RELEASE=$flags" "-DCMAKE_C_FLAGS_RELEASE=$flags" \
        "-DCMAKE_INSTALL_PREFIX=$work/installed" "-DCMAKE_PREFIX_PATH=$work/installed" "$@" >>"$libraries/log" 2>&1 ||
        die "configuring $name failed; see the end of $libraries/log"
    # shellcheck disable=SC2086 # the targets are words
    NINJA_STATUS='%p ' ninja -C "$work/$name/objects" $targets 2>&1 | tee -a "$libraries/log" |
        awk '/^ *[0-9]+% / { now = int($1 / 10); if (now > shown) { shown = now; printf "    %s\n", $1 > "/dev/stderr" } }' ||
        code=$?
    [[ $code -eq 0 ]] || die "building $name failed; see the end of $libraries/log"
}

upstream_version() { # source package
    local version
    version=$(dpkg-parsechangelog -l "$work/$1/tree/debian/changelog" -S Version)
    echo "${version%-*}"
}

# Without the folder's own path: a clone may be moved, and would link the system's library unsaid. What the
# compiler thinks of the libraries' code while it links is for their authors.
describe() { # pkg-config name, version, include options, libraries
    cat >"$libraries/lib/pkgconfig/$1.pc" <<PC
flotilla_build=for production
Name: $1
Description: compiled for production by ./dev libraries
Version: $2
Cflags: $3
Libs: -Wno-alloc-size-larger-than -Wno-stringop-overflow -Wno-lto-type-mismatch -L\${pcfiledir}/.. $4
PC
}

install_rocksdb() {
    local feature options=(-DWITH_LZ4=ON -DROCKSDB_BUILD_SHARED=OFF -DFAIL_ON_WARNINGS=OFF -DPORTABLE=ON)
    for feature in TESTS TOOLS CORE_TOOLS BENCHMARK_TOOLS GFLAGS; do
        options+=("-DWITH_$feature=OFF")
    done
    [[ $(uname -m) != x86_64 ]] || options+=(-DFORCE_SSE42=ON)
    compile rocksdb rocksdb "${options[@]}"
    cp "$work/rocksdb/objects/librocksdb.a" "$libraries/lib/"
    cp -r "$work/rocksdb/tree/include/rocksdb" "$libraries/include/"
    # shellcheck disable=SC2016 # pkg-config's variable
    describe rocksdb "$(upstream_version rocksdb)" '-I${pcfiledir}/../../include' \
        "-lrocksdb -llz4 -lstdc++ -lm -lpthread"
}

# The C core without TLS, which Flotilla has not. Abseil's many archives find each other in a group.
install_grpc() {
    local package archive abseil="" options=(-DgRPC_BUILD_TESTS=OFF -DgRPC_BUILD_CODEGEN=OFF)
    compile abseil install -DABSL_PROPAGATE_CXX_STD=ON -DBUILD_TESTING=OFF
    for package in ABSL CARES PROTOBUF RE2 SSL ZLIB; do
        options+=("-DgRPC_${package}_PROVIDER=package")
    done
    compile grpc "grpc_unsecure gpr" "${options[@]}"
    cp "$work"/grpc/objects/lib{grpc_unsecure,gpr,upb,address_sorting}.a "$work"/installed/lib*/libabsl_*.a "$libraries/lib/"
    for archive in "$libraries"/lib/libabsl_*.a; do
        archive=${archive##*/lib}
        abseil+=" -l${archive%.a}"
    done
    describe grpc_unsecure "$(sed -n 's/^Version: //p' "$work/grpc/objects/libs/opt/pkgconfig/grpc_unsecure.pc")" "" \
        "-Wl,--start-group -lgrpc_unsecure -lgpr -lupb -laddress_sorting$abseil -Wl,--end-group -lcares -lre2 -lz -lstdc++ -lm -lpthread"
}

run_libraries() {
    local start=$EPOCHREALTIME
    if [[ ${1:-} == --remove ]]; then
        rm -rf "$libraries"
        echo '{"libraries":"of the system"}'
        return
    fi
    [[ $# -eq 0 ]] || die "libraries: unexpected argument '$1'; see ./dev libraries --help"
    if [[ ! -f $libraries/ready ]]; then
        rm -rf "$libraries"
        mkdir -p "$libraries/lib/pkgconfig" "$libraries/include"
        source_lists "$work/apt"
        apt_apart "$work/apt" update || die "the lists of source packages cannot be had; see $libraries/log"
        install_rocksdb
        install_grpc
        rm -rf "$work"
        touch "$libraries/ready"
    fi
    echo "{\"libraries\":\"for production\",\"seconds\":$(seconds_since "$start")}"
}
