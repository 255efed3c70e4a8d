#!/bin/sh
# One night: run the grid, check it against the accepted build, write a report. The exit code is that of the
# check: 3 means a confirmed slow-down. Failed cells don't stop the check, which lists them.
#
#   nightly.sh [OVERRIDE ...]     such as model=bert; environment variables set the rest:
#   FOLDER            where outputs/ and compile_cache/ lie            the checkout of this script
#   PYTHON            Python of the build that is measured             .venv/bin/python
#   EXPERIMENT        conf/experiment/*.yaml                           nightly
#   HARDWARE          conf/hardware/*.yaml                             cpu
#   ACCEPTED_PYTHON   Python of the last accepted build; without it suspicions are listed, none is confirmed
#   STORE, CACHE      folders of rows and compiled artefacts           outputs/results, compile_cache
#   REPORT            folder for this night's summary and charts       outputs/nightly-DATE/report
#   SUMMARY           file that the summary is appended to             summary.md in REPORT
#   NIGHT             name of the campaign; the same name resumes it   nightly-DATE
set -u
cd "${FOLDER:-$(dirname "$0")/../..}" || exit 1
python=${PYTHON:-.venv/bin/python}
store=${STORE:-outputs/results}
night=${NIGHT:-nightly-$(date +%F)}
report=${REPORT:-outputs/$night/report}
if [ -n "${ACCEPTED_PYTHON:-}" ] && ! "$ACCEPTED_PYTHON" -I -c 'import benchmark'; then
  echo "nightly: ACCEPTED_PYTHON=$ACCEPTED_PYTHON can't import benchmark: make that environment" \
    "(git worktree add DIR COMMIT && make -C DIR setup), or leave ACCEPTED_PYTHON out" >&2
  exit 1
fi
mkdir -p "$report" || exit 1

"$python" -m benchmark "experiment=${EXPERIMENT:-nightly}" "hardware=${HARDWARE:-cpu}" "campaign=$night" \
  "store.root=$store" "cache.root=${CACHE:-compile_cache}" "$@"
ran=$?
case $ran in
  0 | 2) ;;            # 2: some cells failed
  *) exit "$ran" ;;    # 1: a mistake, 4: the budget is used up, 130: interrupted
esac

"$python" -m benchmark nightly check --store "$store" --night "$night" --accepted-python "${ACCEPTED_PYTHON:-}" \
  --trust --md "${SUMMARY:-$report/summary.md}" --plot "$report"
checked=$?

"$python" -m benchmark report overview "campaign=$night" --store "$store" --out "$report" ||
  echo "nightly: the report of $night failed (see above); the result of the check is unaffected" >&2
exit "$checked"
