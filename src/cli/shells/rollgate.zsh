#compdef rollgate
_rollgate_complete() {
    # One suggestion per line: VALUE or VALUE:HELP.
    local -a suggestions=("${(@f)$(
        _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) ROLLGATE_COMPLETE=zsh \
            rollgate -- "${words[@]}" 2>/dev/null
    )}")
    local -a folders values open
    local suggestion value
    for suggestion in $suggestions; do
        value=${suggestion%%:*}
        case $value in
            */) folders+=("${value%/}${suggestion#$value}") ;;
            *=) open+=("$suggestion") ;;
            *) values+=("$suggestion") ;;
        esac
    done
    (($#folders)) && _describe -V 'folder' folders -S / -r /
    (($#open)) && _describe -V 'value' open -S ''
    (($#values)) && _describe -V 'value' values
}

compdef _rollgate_complete rollgate

# Zsh runs a file of its fpath when the first completion is asked for, which the file then has to answer.
if [[ $funcstack[1] == _rollgate ]]; then
    _rollgate_complete "$@"
fi
