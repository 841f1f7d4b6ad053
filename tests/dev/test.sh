# The stages of `./dev test`. Sourced by ./dev, which provides say, die, configure, seconds_since.
# shellcheck shell=bash

passed=0 failed=0 skipped=0
stage_number=0 stage_count=0 stage_name="" stage_start=0 stage_log=""
failures=() # one line of text each
filter=""

# Errors a sanitizer finds end the process at once, with an exit code that no test expects.
sanitizer_environment() {
    export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:exitcode=99"
    export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:exitcode=99"
    # Some tests fork although the engine has threads; the children only open it again.
    export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:die_after_fork=0:exitcode=99"
    TSAN_OPTIONS+=":suppressions=$PWD/tests/tsan.supp"
    # What an uninstrumented library copies or allocates is no evidence: gRPC hands memory over
    # with atomics that the sanitizer does not see.
    TSAN_OPTIONS+=":ignore_noninstrumented_modules=1"
}

# ---- stages --------------------------------------------------------------------------------------

begin_stage() { # name
    stage_number=$((stage_number + 1))
    stage_name=$1
    stage_start=$EPOCHREALTIME
    stage_log=build/logs/${stage_name// /_}.log
    : >"$stage_log"
    say "[$stage_number/$stage_count] $stage_name"
}

end_stage() { # what happened
    say "    $1  ($(seconds_since "$stage_start") s)"
}

# Counts a failure that is not a single test's: a build, a crash outside any test.
fail_stage() { # what happened
    failed=$((failed + 1))
    failures+=("$stage_name: $1 (see $stage_log)")
    tail -n 40 "$stage_log" >&2
    end_stage "FAILED: $1"
}

# ninja prints a line for each step; on a terminal all are shown in place, else every tenth part.
show_progress() {
    if [[ -t 2 ]]; then
        awk '{ print >> log_file } /^\[[0-9]+\/[0-9]+\]/ { printf "\r\033[K    %.90s", $0 > "/dev/stderr" }
            END { printf "\r\033[K" > "/dev/stderr" }' log_file="$stage_log"
    else
        awk '{ print >> log_file } /^\[[0-9]+\/[0-9]+\]/ {
                split(substr($1, 2), step, "/"); part = int(10 * step[1] / step[2])
                if (part != last && step[2] > 20) printf "    built %d%%\n", 10 * part > "/dev/stderr"
                last = part }' log_file="$stage_log"
    fi
}

# Builds build/NAME: everything, or only what its tests run. Counts as one failure if that does not work.
build_stage() { # all or tests, name, compiler, meson options...
    local name=$2 target=$1
    [[ $target == all ]] || target=meson-test-prereq
    shift
    if ! configure "$@" >>"$stage_log" 2>&1; then
        fail_stage "configuring build/$name failed"
        return 1
    fi
    if ! ninja -C "build/$name" "$target" 2>&1 | show_progress; then
        fail_stage "building build/$name failed"
        return 1
    fi
}

# ---- counting ------------------------------------------------------------------------------------

# Reads what meson recorded and prints "passed failed skipped", then a line for each failed test.
# A Criterion program counts as its tests, any other program as one test.
count_results() { # the JSON record
    /usr/bin/python3 - "$1" <<'PYTHON'
import json, re, sys


def leaking_tests(output):
    """The name of each test whose process left memory behind, from the stacks of the reports."""
    names = []
    for report in output.split("ERROR: LeakSanitizer")[1:]:
        found = re.search(r" in (\w+)_impl ", report.split("SUMMARY:")[0])
        names.append(found.group(1) if found else "a test")
    return names


passed = failed = skipped = 0
notes = []
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    test = json.loads(line)
    output = (test.get("stdout") or "") + (test.get("stderr") or "")
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    summary = re.search(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+)", output)
    if summary:
        tested, passing, failing = map(int, summary.groups())
        passed, failed = passed + passing, failed + failing
        skipped += max(0, tested - passing - failing)
        notes += re.findall(r"^\[FAIL\] ([^\s:]+(?:::[^\s:]+)?)", output, re.MULTILINE)
        # Leaks are found when a test's process ends, after Criterion has counted it as passed.
        leaks = leaking_tests(output)
        moved = min(passing, len(leaks))
        passed, failed, failing = passed - moved, failed + moved, failing + moved
        notes += [f"{name} leaks memory" for name in leaks]
        if failing == 0 and test["result"] != "OK":
            failed += 1
            notes.append(f"{test['name']}: {test['result']} although every test passed")
    elif test["result"] == "SKIP":
        skipped += 1
    elif test["result"] == "OK":
        passed += 1
    else:
        failed += 1
        notes.append(f"{test['name']}: {test['result']}, exit code {test['returncode']}")
print(passed, failed, skipped)
print("\n".join(dict.fromkeys(notes)))
PYTHON
}

# Adds what one run of meson test recorded, or one failure if it recorded nothing readable.
add_results() { # the record without its suffix, exit code of meson
    local results counts notes p f s note
    if ! results=$(count_results "$1.json" 2>>"$stage_log"); then
        stage_failed=$((stage_failed + 1))
        failures+=("$stage_name: no readable results in $1.json (see $stage_log)")
        return
    fi
    counts=${results%%$'\n'*} notes=${results#"$counts"}
    read -r p f s <<<"$counts"
    if [[ $2 -ne 0 && $f -eq 0 ]]; then
        f=1 notes+=$'\n'"meson test ended with exit code $2"
    fi
    stage_passed=$((stage_passed + p)) stage_failed=$((stage_failed + f)) stage_skipped=$((stage_skipped + s))
    while IFS= read -r note; do
        [[ -z $note ]] || failures+=("$stage_name: $note (see $1.txt)")
    done <<<"$notes"
}

meson_test() { # build name, name of the record, meson arguments...
    local name=$1 record=build/$1/meson-logs/$2 code=0
    local logbase=$2
    shift 2
    rm -f "$record".*
    meson test -C "build/$name" --no-rebuild --print-errorlogs --logbase "$logbase" "$@" \
        >>"$stage_log" 2>&1 </dev/null || code=$?
    [[ -f $record.json || $code -ne 0 ]] || return 0 # none were selected
    add_results "$record" "$code"
}

# The unit tests of build/NAME: Criterion programs, of which a filter selects tests, then all others,
# of which it selects by their names.
run_unit_tests() { # build name
    stage_passed=0 stage_failed=0 stage_skipped=0
    local criterion=() other
    if [[ -n $filter ]]; then
        criterion=(--test-args="--filter=*$filter*")
        mapfile -t other < <(meson test -C "build/$1" --list --suite program 2>/dev/null | sed 's/.* //' | grep -F -- "$filter")
    fi
    meson_test "$1" unit --no-suite program "${criterion[@]}"
    if [[ -z $filter ]]; then
        meson_test "$1" programs --suite program
    elif [[ ${#other[@]} -gt 0 ]]; then
        meson_test "$1" programs "${other[@]}"
    fi
    finish_tests
}

finish_tests() {
    passed=$((passed + stage_passed)) failed=$((failed + stage_failed)) skipped=$((skipped + stage_skipped))
    [[ $stage_failed -eq 0 ]] || tail -n 60 "$stage_log" >&2
    end_stage "$stage_passed passed, $stage_failed failed, $stage_skipped skipped"
}

# ---- clusters of real processes ------------------------------------------------------------------

cluster_timeout_s=300

cluster_tests() {
    local file
    for file in tests/models/*_test* tests/cluster/*_test* build/debug/tests/cluster/*_test*; do
        [[ -f $file && -x $file && $file == *"$filter"* ]] && echo "$file"
    done
    return 0
}

run_cluster_tests() {
    stage_passed=0 stage_failed=0 stage_skipped=0
    local file code start files
    mapfile -t files < <(cluster_tests)
    export FLOTILLA_BIN=$PWD/build/debug/cmd/flotilla
    if [[ ! -x $FLOTILLA_BIN && ${#files[@]} -gt 0 ]]; then
        fail_stage "there is no $FLOTILLA_BIN to test"
        return
    fi
    for file in "${files[@]}"; do
        start=$EPOCHREALTIME code=0
        echo "==== $file" >>"$stage_log"
        timeout --kill-after=10 "$cluster_timeout_s" "$file" >>"$stage_log" 2>&1 </dev/null || code=$?
        case $code in
        0) stage_passed=$((stage_passed + 1)) ;;
        77) stage_skipped=$((stage_skipped + 1)) ;;
        *)
            stage_failed=$((stage_failed + 1))
            failures+=("$file: exit code $code after $(seconds_since "$start") s (see $stage_log)")
            ;;
        esac
        say "    $(basename "$file"): $(cluster_verdict "$code")  ($(seconds_since "$start") s)"
    done
    finish_tests
}

cluster_verdict() { # exit code
    case $1 in
    0) echo passed ;;
    77) echo skipped ;;
    124 | 137) echo "FAILED: no end after $cluster_timeout_s s" ;;
    *) echo "FAILED: exit code $1" ;;
    esac
}

# ---- the whole -----------------------------------------------------------------------------------

report() { # start of all
    local failure
    for failure in "${failures[@]}"; do
        say "FAILED $failure"
    done
    if [[ $passed -eq 0 && $failed -eq 0 ]]; then
        say "FAILED no test ran"
    fi
    echo "{\"passed\":$passed,\"failed\":$failed,\"skipped\":$skipped,\"wall_s\":$(seconds_since "$1")}"
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 && $passed -gt 0 ]]
}

run_tests() {
    local quick=false start=$EPOCHREALTIME
    while [[ $# -gt 0 ]]; do
        case $1 in
        --quick) quick=true ;;
        --filter)
            [[ $# -ge 2 ]] || die "test: --filter needs a text"
            filter=$2
            shift
            ;;
        --filter=*) filter=${1#*=} ;;
        *) die "test: unknown option '$1'; see ./dev test --help" ;;
        esac
        shift
    done
    mkdir -p build/logs
    sanitizer_environment
    stage_count=5
    [[ $quick == false ]] || stage_count=1

    # Clusters are tested without jemalloc, because valgrind must see every allocation.
    begin_stage "gcc"
    local have_debug=true
    if build_stage all debug gcc -Djemalloc=false; then run_unit_tests debug; else have_debug=false; fi
    if [[ $quick == true ]]; then
        report "$start"
        return
    fi

    # As shipped, with jemalloc; the other compiler's warnings and its unit tests.
    begin_stage "clang"
    if build_stage all clang clang; then run_unit_tests clang; fi

    begin_stage "address and undefined-behaviour sanitizers"
    if build_stage tests asan clang -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false -Djemalloc=false; then
        run_unit_tests asan
    fi

    begin_stage "thread sanitizer"
    if build_stage tests tsan clang -Doptimization=1 -Db_sanitize=thread -Db_lundef=false -Djemalloc=false; then
        run_unit_tests tsan
    fi

    begin_stage "clusters of real processes"
    if [[ $have_debug == true ]]; then
        run_cluster_tests
    else
        fail_stage "there is nothing to test: the gcc build failed"
    fi
    report "$start"
}
