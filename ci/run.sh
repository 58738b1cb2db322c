#!/usr/bin/env bash
# Runs rollgate in a CI job. The inputs are variables of the environment, so that no value becomes a part of this script:
# ROLLGATE_COMMAND, ROLLGATE_PLAYBOOK, and with one item per line ROLLGATE_VARIABLES and ROLLGATE_ARGUMENTS.
set -euo pipefail

command=${ROLLGATE_COMMAND:-deploy}
arguments=("$command" "${ROLLGATE_PLAYBOOK:?the playbook is missing}")
while IFS= read -r line; do
  line=${line%$'\r'}
  [[ -z ${line//[[:space:]]/} ]] || arguments+=(--var "$line")
done <<<"${ROLLGATE_VARIABLES:-}"
# A job cannot answer a question.
case $command in deploy | resume | rollback) arguments+=(--yes) ;; esac
while IFS= read -r line; do
  line=${line%$'\r'}
  [[ -z ${line//[[:space:]]/} ]] || arguments+=("$line")
done <<<"${ROLLGATE_ARGUMENTS:-}"

# rollgate takes the place of the shell: a cancelled job sends its signal to this process, and rollgate then leaves every
# node in a safe state.
exec rollgate "${arguments[@]}"
