# `./dev fmt` and `./dev lint`. Sourced by ./dev, which provides say, die, configure, seconds_since.
# shellcheck shell=bash

c_files() {
    find base raft storage txn range placement rpc bench cmd tests -name '*.[ch]' | sort
}

shell_files() {
    local file
    echo dev
    echo .ci/run
    while IFS= read -r file; do
        # Some scripts have no suffix; what counts is the first line.
        if [[ $file == *.sh || $(head -c 64 "$file" | head -n 1 | tr -d '\0') =~ ^#!.*(bash|/sh) ]]; then
            echo "$file"
        fi
    done < <(find tests \( -name '*.sh' -o -type f -perm -u+x ! -name '*.py' \) | sort -u)
}

run_fmt() {
    local check=false files unformatted=0 changed start=$EPOCHREALTIME
    case ${1:-} in
    "") ;;
    --check) check=true ;;
    *) die "fmt: unknown option '$1'; see ./dev fmt --help" ;;
    esac
    mapfile -t files < <(c_files)
    # clang-format says what it would replace; a file counts once.
    mapfile -t changed < <(clang-format --dry-run "${files[@]}" 2>&1 |
        sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: warning: code should be.*/\1/p' | sort -u)
    unformatted=${#changed[@]}
    if [[ $unformatted -gt 0 ]]; then
        printf '%s\n' "${changed[@]}" >&2
        [[ $check == true ]] || clang-format -i "${changed[@]}"
    fi
    echo "{\"files\":${#files[@]},\"unformatted\":$unformatted,\"changed\":$(
        [[ $check == true ]] && echo 0 || echo "$unformatted"
    ),\"wall_s\":$(seconds_since "$start")}"
    [[ $check == false || $unformatted -eq 0 ]]
}

# Runs one check; its findings go to standard error and are counted by the pattern.
findings=0
lint_step() { # name, pattern of a finding, command...
    local name=$1 pattern=$2 start=$EPOCHREALTIME log=build/logs/lint_$1.log code=0
    shift 2
    "$@" >"$log" 2>&1 </dev/null || code=$?
    findings=$(grep -Ec -- "$pattern" "$log" || true)
    if [[ $code -ne 0 && $findings -eq 0 ]]; then
        findings=1 # it failed in a way of its own
    fi
    [[ $findings -eq 0 ]] || grep -v '^[0-9]* warnings\|^Suppressed \|^Use -header' "$log" | tail -n 200 >&2
    say "    $name: $findings findings  ($(seconds_since "$start") s)"
}

tidy_all() {
    local files
    # Only what the build knows: a file without its flags cannot be judged.
    mapfile -t files < <(sed -n 's/^ *"file": "\(.*\)".*/\1/p' build/clang/compile_commands.json |
        sed 's,^\(\.\./\)*,,' | grep -v '^build/\|pb-c\.c$' | sort -u)
    local existing=() file
    for file in "${files[@]}"; do
        [[ ! -f $file ]] || existing+=("$file")
    done
    [[ ${#existing[@]} -gt 0 ]] || return 1
    # One file a run: the analyzer mixes up the va_lists of those that it reads one after the other.
    printf '%s\0' "${existing[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p build/clang
}

# The suppressed kinds are wrong here: cppcheck 2.10 neither knows that a failed ASSERT does not return (the two
# "redundant condition" kinds) nor that an initialiser of one member of a struct zeroes the others.
cppcheck_all() {
    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
        --suppress=nullPointerRedundantCheck --suppress=arrayIndexOutOfBoundsCond --suppress=legacyUninitvar \
        --suppress=missingInclude --suppress=unmatchedSuppression --error-exitcode=1 -j "$(nproc)" \
        --template='{file}:{line}: {severity}: {message} [{id}]' -D__x86_64__ -D__linux__ \
        -I . base raft storage txn range placement rpc bench cmd
}

shellcheck_all() {
    local files
    mapfile -t files < <(shell_files)
    shellcheck -x --format=gcc "${files[@]}"
}

run_lint() {
    [[ $# -eq 0 ]] || die "lint: unknown option '$1'; see ./dev lint --help"
    local start=$EPOCHREALTIME tidy cpp shell layering mutations scenarios total lint_build_failed=0
    mkdir -p build/logs
    say "Static checks"
    lint_step layering '^[^ ]*: ' tests/layering.sh
    layering=$findings
    lint_step mutations '^mutation: ' tests/mutations/mutate.py --verify
    mutations=$findings
    lint_step scenarios '^scenario: ' tests/dev/scenarios.py
    scenarios=$findings
    lint_step shellcheck ': (error|warning|note): ' shellcheck_all
    shell=$findings
    lint_step cppcheck ': (error|warning|performance|portability): ' cppcheck_all
    cpp=$findings
    # Generated sources must exist before a file that includes them can be read.
    { configure clang clang && ninja -C build/clang; } >build/logs/lint_build.log 2>&1 </dev/null ||
        lint_build_failed=1
    lint_step clang-tidy ': (error|warning): ' tidy_all
    tidy=$findings
    if [[ $lint_build_failed -ne 0 ]]; then
        say "    the clang build failed, so some files could not be judged: see build/logs/lint_build.log"
    fi
    total=$((layering + mutations + scenarios + shell + cpp + tidy + lint_build_failed))
    echo "{\"layering\":$layering,\"mutations\":$mutations,\"scenarios\":$scenarios,\"shellcheck\":$shell,\"cppcheck\":$cpp,\"clang_tidy\":$tidy,\"wall_s\":$(seconds_since "$start")}"
    [[ $total -eq 0 ]]
}
