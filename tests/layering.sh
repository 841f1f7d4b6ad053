#!/bin/bash
# Checks the one-way dependencies of docs/architecture.md by reading every #include. Prints one line for
# each violation and ends with exit code 1 if there was one. Without arguments it checks the tree it is in;
# with a directory, that one.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

folders="base raft storage txn range placement rpc bench cmd"

# What each folder may include besides itself.
allowed_for() {
    case $1 in
    base) ;;
    raft) echo base ;;
    storage) echo base ;;
    txn) echo storage base ;;
    range | placement) echo raft txn storage base ;;
    rpc) echo range placement raft txn storage base ;;
    bench | cmd | tests) echo "$folders" ;;
    esac
}

# Libraries that belong to one folder: a pattern of the header and who may include it.
library_rules() {
    cat <<'RULES'
^grpc/ rpc tests
^protobuf-c/ rpc tests
^google/ rpc tests
^rocksdb/ storage tests
^xxhash\.h$ base
^yaml\.h$ base
RULES
}

# Deterministic state machines are handed time, threads, disk and network; they fetch none of it.
pure_folders="raft txn"
impure_headers='^(pthread|threads|time|unistd|fcntl|poll|signal|sys/.*|netinet/.*|arpa/.*)(\.h)?$|^base/mailbox\.h$'

violations=0
complain() {
    echo "$1: $2"
    violations=$((violations + 1))
}

contains() {
    [[ " $1 " == *" $2 "* ]]
}

check_own() { # file folder included
    local first=${3%%/*}
    if [[ $3 != */* ]]; then
        # Files next to each other in tests/ may be named briefly; elsewhere paths start at the root.
        [[ $2 == tests || $2 == rpc ]] || complain "$1" "\"$3\" must be named by its path from the root"
    elif contains "$folders tests" "$first"; then
        [[ $first == "$2" ]] || contains "$(allowed_for "$2")" "$first" ||
            complain "$1" "$2/ must not include \"$3\""
    else
        contains "rpc tests" "$2" || complain "$1" "\"$3\" is in no folder of this project"
    fi
}

check_library() { # file folder included
    local pattern who
    while read -r pattern who; do
        if [[ $3 =~ $pattern ]] && ! contains "$who" "$2"; then
            complain "$1" "only $who may include <$3>"
        fi
    done < <(library_rules)
}

check_purity() { # file folder included
    if contains "$pure_folders" "$2" && [[ $3 =~ $impure_headers ]]; then
        complain "$1" "$2/ is a deterministic state machine and must not include $3"
    fi
}

files=0
for folder in $folders tests; do
    while IFS=: read -r file included; do
        [[ -n $file ]] || continue
        name=${included:1:-1}
        if [[ ${included:0:1} == '"' ]]; then
            check_own "$file" "$folder" "$name"
        fi
        # A library in quotes is still that library.
        check_library "$file" "$folder" "$name"
        check_purity "$file" "$folder" "$name"
    done < <(grep -rEo --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]*("[^"]+"|<[^>]+>)' "$folder" |
        sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*/:/')
    files=$((files + $(find "$folder" -name '*.[ch]' | wc -l)))
done

if [[ $files -eq 0 ]]; then
    complain "$PWD" "no source files found"
fi
echo "$files files checked, $violations violations"
[[ $violations -eq 0 ]]
