# shellcheck shell=sh
# Notes that this node is about to run the release.

alone 10
note
