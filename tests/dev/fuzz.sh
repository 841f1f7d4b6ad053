# `./dev fuzz`. Sourced by ./dev, which provides say, die, configure, seconds_since.
# shellcheck shell=bash

fuzz_targets() {
    find tests/fuzz -maxdepth 1 -name 'fuzz_*.c' -printf '%f\n' | sed 's/^fuzz_//; s/\.c$//' | sort
}

# libFuzzer's lines go to the log; a word from them to the terminal now and then.
fuzz_progress() { # name, log
    awk -v name="$1" -v log_file="$2" '
        { print >> log_file; fflush(log_file) }
        /cov:/ && systime() >= due { due = systime() + 30; printf "    %s %.70s\n", name, $0 > "/dev/stderr" }'
}

fuzz_figure() { # log, name of libFuzzer's final figure
    sed -n "s/^stat::$2: *//p" "$1" | tail -1
}

fuzz_executions=0
fuzz_findings=()

# Runs one target, beginning with the committed inputs and all that earlier runs found worth keeping.
fuzz_one() { # name, seconds, jobs
    local name=$1 seconds=$2 jobs=$3 code=0 before after executed
    local log=build/logs/fuzz_$name.log corpus=build/fuzz-corpus/$name findings=build/fuzz-findings
    local options=(-max_total_time="$seconds" -print_final_stats=1 -timeout=10 -rss_limit_mb=2048
        -artifact_prefix="$findings/$name-")
    [[ $jobs -eq 1 ]] || options+=(-fork="$jobs")
    mkdir -p "$corpus" "$findings"
    : >"$log"
    before=$(find "$findings" -name "$name-*" | wc -l)
    nice -n 10 "build/fuzz/tests/fuzz/fuzz_$name" "${options[@]}" "$corpus" "tests/fuzz/corpus/$name" 2>&1 |
        fuzz_progress "$name" "$log" || code=$?
    after=$(find "$findings" -name "$name-*" | wc -l)
    executed=$(fuzz_figure "$log" number_of_executed_units)
    [[ -n $executed ]] || executed=$(sed -n 's/^#\([0-9]*\).*/\1/p' "$log" | tail -1)
    fuzz_executions=$((fuzz_executions + ${executed:-0}))
    if [[ $code -ne 0 || $after -ne $before ]]; then
        fuzz_findings+=("$name")
        grep -a -m 3 -E 'runtime error|ERROR: |Assertion|SUMMARY' "$log" >&2 || tail -n 5 "$log" >&2
        say "    FINDING, see $log and $findings/$name-*"
        return
    fi
    say "    ${executed:-0} inputs, $(find "$corpus" -type f | wc -l) kept, no finding"
}

run_fuzz() {
    local minutes=1 jobs=1 names=() name number=0 start=$EPOCHREALTIME list
    while [[ $# -gt 0 ]]; do
        case $1 in
        --minutes | --jobs)
            [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "fuzz: $1 needs a number"
            if [[ $1 == --minutes ]]; then minutes=$2; else jobs=$2; fi
            shift
            ;;
        --list)
            fuzz_targets
            return
            ;;
        -*) die "fuzz: unknown option '$1'; see ./dev fuzz --help" ;;
        *)
            [[ -f tests/fuzz/fuzz_$1.c ]] || die "fuzz: there is no target '$1'; there are: $(fuzz_targets | xargs)"
            names+=("$1")
            ;;
        esac
        shift
    done
    [[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(fuzz_targets)
    configure fuzz clang -Dfuzz=true -Dtests=disabled -Djemalloc=false -Doptimization=2 \
        -Db_sanitize=address,undefined -Db_lundef=false >&2 || die "configuring build/fuzz failed"
    ninja -C build/fuzz "${names[@]/#/tests/fuzz/fuzz_}" >&2 || die "building the fuzzers failed"
    mkdir -p build/logs
    export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1"
    export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
    for name in "${names[@]}"; do
        number=$((number + 1))
        say "[$number/${#names[@]}] $name, $minutes min"
        fuzz_one "$name" "$(awk -v m="$minutes" 'BEGIN { printf "%d", m * 60 }')" "$jobs"
    done
    list=$(printf ',"%s"' "${fuzz_findings[@]}")
    [[ ${#fuzz_findings[@]} -gt 0 ]] || list=","
    echo "{\"targets\":${#names[@]},\"minutes_each\":$minutes,\"inputs\":$fuzz_executions,\"findings\":[${list:1}],\"wall_s\":$(seconds_since "$start")}"
    [[ ${#fuzz_findings[@]} -eq 0 ]]
}
