#!/usr/bin/env bash
# Fuzzes the parsers, one target after the other, and stops at the first finding.
#   run.sh [MINUTES [TARGET...]]    MINUTES over all targets together (60), each gets the same
# What was found lies in artifacts/TARGET; once it is fixed, it goes to corpus/TARGET, from where `make test` replays it.
# Inputs that only reach further stay in target/, and are gone on with.
set -euo pipefail
cd "$(dirname "$0")"

minutes=${1:-60}
shift || true
targets=("$@")
if ((${#targets[@]} == 0)); then
  for target in targets/*.rs; do targets+=("$(basename "$target" .rs)"); done
fi
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { echo "tests/fuzz/run.sh: minutes must be a number: $minutes" >&2; exit 1; }
seconds=$((minutes * 60 / ${#targets[@]}))

command -v cargo-fuzz >/dev/null || cargo install --debug --locked cargo-fuzz ||
  { echo "tests/fuzz/run.sh: missing: cargo-fuzz" >&2; exit 1; }

# Sanitizers are an unstable flag of a compiler that has them.
export RUSTC_BOOTSTRAP=1
unset CARGO_TARGET_DIR
for target in "${targets[@]}"; do
  echo "== $target: $seconds s"
  mkdir -p "target/corpus/$target"
  cargo fuzz run --fuzz-dir . "$target" "target/corpus/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
echo "fuzz: no finding in $minutes minutes over ${#targets[@]} targets"
