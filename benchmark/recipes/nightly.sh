#!/bin/sh
# One night: the grid, its check against the accepted build, a report. Ends with the check's exit code:
# 3 is a confirmed slow-down. Cells that failed hide nothing: the check names them.
#
#   nightly.sh [OVERRIDE ...]     such as model=bert; what else differs comes from the environment:
#   PYTHON            interpreter of the build that is measured        .venv/bin/python
#   EXPERIMENT        conf/experiment/*.yaml                           nightly
#   HARDWARE          conf/hardware/*.yaml                             cpu
#   ACCEPTED_PYTHON   interpreter of the last accepted build; without it suspects are told, none is confirmed
#   STORE, CACHE      where rows and compiled artefacts are kept       outputs/results, compile_cache
#   REPORT            folder of this night's summary and charts        outputs/nightly-DATE/report
#   SUMMARY           file that the summary is appended to             summary.md in REPORT
#   NIGHT             name of the campaign; the same again resumes     nightly-DATE
set -u
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-.venv/bin/python}
store=${STORE:-outputs/results}
night=${NIGHT:-nightly-$(date +%F)}
report=${REPORT:-outputs/$night/report}
mkdir -p "$report" || exit 1

"$python" -m benchmark "experiment=${EXPERIMENT:-nightly}" "hardware=${HARDWARE:-cpu}" "campaign=$night" \
  "store.root=$store" "cache.root=${CACHE:-compile_cache}" "$@"
ran=$?
case $ran in
  0 | 2) ;;            # 2: some cells failed
  *) exit "$ran" ;;    # 1: a mistake, 4: the budget is used up, 130: interrupted
esac

"$python" -m benchmark nightly check --store "$store" --night "$night" --accepted-python "${ACCEPTED_PYTHON:-}" \
  --md "${SUMMARY:-$report/summary.md}" --plot "$report"
checked=$?

"$python" -m benchmark report overview "campaign=$night" --store "$store" --out "$report" ||
  echo "nightly: no report of $night, see above; its check stands" >&2
exit "$checked"
