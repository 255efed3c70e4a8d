#!/bin/sh
#SBATCH --job-name=benchmark-@hardware@
#SBATCH --array=0-3
#SBATCH --exclusive
#SBATCH --cpus-per-task=@cpus@
#SBATCH --mem=@memory_gib@G
#SBATCH --time=240
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@60
# An experiment as an array of Slurm: task N measures model N of MODELS, on a node of its own.
#
#   MODELS="bert vit roberta distilbert" sbatch --array=0-3 slurm-array.sh [OVERRIDE ...]
#
# STORE, CACHE, OUTPUTS   places that all nodes share       outputs/results, compile_cache, outputs/CAMPAIGN in @folder@
# CAMPAIGN                the same name resumes             the number of the array, which a requeued task keeps
#
# A task that Slurm preempts, or whose time is up, gets SIGTERM: its run leaves the row `interrupted`, and the
# requeued task, or the same sbatch with its CAMPAIGN, measures what is missing.
set -eu
cd "@folder@"
campaign=${CAMPAIGN:-slurm-$SLURM_ARRAY_JOB_ID}
overrides=$(printf '%s\n' "$@")
# shellcheck disable=SC2086 # a list of names
set -- ${MODELS:?names of models, one for each task of the array}
[ "$SLURM_ARRAY_TASK_ID" -lt $# ] || exit 0
shift "$SLURM_ARRAY_TASK_ID"
# shellcheck disable=SC2086 # words without blanks
exec .venv/bin/python -m benchmark "experiment=@experiment@" "hardware=@hardware@" "model=$1" "campaign=$campaign" \
  "store.root=${STORE:-outputs/results}" "cache.root=${CACHE:-compile_cache}" \
  "output_folder=${OUTPUTS:-outputs/$campaign}" $overrides
