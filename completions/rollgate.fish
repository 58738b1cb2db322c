# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rollgate_global_optspecs
    string join \n output= color= q/quiet v/verbose trace= ci= log-file= state-dir= h/help V/version
end

function __fish_rollgate_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rollgate_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rollgate_using_subcommand
    set -l cmd (__fish_rollgate_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rollgate -n "__fish_rollgate_needs_command" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_needs_command" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_needs_command" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_needs_command" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_needs_command" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_needs_command" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_needs_command" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_needs_command" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_needs_command" -s V -l version -d 'Print version'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "init" -d 'Write a first playbook, from what Consul, the gateways and the nodes answer'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "check" -d 'Check the playbook file alone and show every problem at once; changes nothing'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "doctor" -d 'Check nodes, gateways and Consul before a release; changes nothing'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "plan" -d 'Show what a release would do to each node, and why; changes nothing'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "deploy" -d 'Run a release: update the nodes, batch by batch'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "resume" -d 'Continue a release that was stopped, failed or interrupted'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "rollback" -d 'Return nodes to the version that they ran before a release'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "status" -d 'Show each node\'s state: version, process, registry, gateways'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "node" -d 'Take nodes out of rotation by hand, or return them, with the checks of a release'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "lock" -d 'Show or break a service\'s lock'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "schema" -d 'Print the JSON Schema of playbooks or of plan files, for editors and programs'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c rollgate -n "__fish_rollgate_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l service -d 'The service\'s name [default: asked]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l consul -d 'Consul\'s address [default: `CONSUL_HTTP_ADDR`, or this machine]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l prefix -d 'The prefix of the nodes\' keys in Consul [default: found in Consul]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l consul-service -d 'The service in Consul whose instances are the nodes [default: found in Consul]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l node -d 'A node, with its name and its machine for ssh if they differ [default: those in Consul]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l gateway -d 'A gateway: a URL, a socket (`/path`, `HOST:/path`) or `tcp://HOST:PORT`; with keys of the playbook if needed' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l upstream -d 'The gateways\' name for the pool [default: the name in Consul, or the service\'s]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l ssh-user -d 'The user for ssh' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l ssh-config -d 'A configuration of ssh besides your own' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l stop -d 'The command that stops the service on a node [default: by the systemd unit that listens]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l start -d 'The command that starts the service on a node [default: by the systemd unit that listens]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l health -d 'The path of the health check, or `tcp` [default: the first of the usual paths that answers]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l artifact -d 'The artifact that is copied to the nodes, e.g. \'dist/app-${{ version }}.tar.gz\' [default: asked]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l only -d 'Take only these nodes, by name or tag' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l skip -d 'Leave out these nodes, by name or tag' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l limit -d 'Update at most this many nodes' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l out -d 'Write the plan to this file, for `deploy --plan`; a refused plan is not written' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l include-held -d 'Update held nodes, too; the hold of a node ends once it is back in rotation'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l allow-unhealthy -d 'Release even if no node passes the health check now, because the new version will'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l restart -d 'Restart the nodes with the version that each of them runs; deploy nothing'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -l detailed-exitcode -d 'Exit with 6 if there are changes'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l plan -d 'Run exactly this plan, made by `plan --out`, or refuse if anything was changed since; takes its playbook, variables and nodes from the plan, and asks no question' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l only -d 'Take only these nodes, by name or tag' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l skip -d 'Leave out these nodes, by name or tag' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l limit -d 'Update at most this many nodes' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l lock-wait -d 'Wait this long while another release holds the lock, e.g. 10m [default: do not wait]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l include-held -d 'Update held nodes, too; the hold of a node ends once it is back in rotation'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l allow-unhealthy -d 'Release even if no node passes the health check now, because the new version will'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -l restart -d 'Restart the nodes with the version that each of them runs; deploy nothing'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -s y -l yes -d 'Do not ask for confirmation'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l lock-wait -d 'Wait this long while another release holds the lock, e.g. 10m [default: do not wait]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -l use-current -d 'Use the playbook\'s file as it is now, not the playbook in the journal'
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -s y -l yes -d 'Do not ask for confirmation'
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l only -d 'Roll back only these nodes, by name' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l lock-wait -d 'Wait this long while another release holds the lock, e.g. 10m [default: do not wait]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -l use-current -d 'Use the playbook\'s file as it is now, not the playbook in the journal'
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -s y -l yes -d 'Do not ask for confirmation'
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -l exit-code -d 'For monitoring: exit with 0 if all is well, 1 if a node is out (also one that `node out` holds), unhealthy or on another version, 2 while a release runs, 3 if something cannot be read'
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -f -a "out" -d 'Take nodes out of rotation and hold them there: mark down, confirm, drain; the service keeps running'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -f -a "in" -d 'Return nodes to rotation and end their hold: check health, mark up, confirm'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and not __fish_seen_subcommand_from out in help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l lock-wait -d 'Wait this long while another release holds the lock, e.g. 10m [default: do not wait]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l reason -d 'Why, for others: releases leave the nodes out until `node in`, and show this' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -s y -l yes -d 'Accepted for scripts; these commands never ask'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from out" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l lock-wait -d 'Wait this long while another release holds the lock, e.g. 10m [default: do not wait]' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -s y -l yes -d 'Accepted for scripts; these commands never ask'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from in" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "out" -d 'Take nodes out of rotation and hold them there: mark down, confirm, drain; the service keeps running'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "in" -d 'Return nodes to rotation and end their hold: check health, mark up, confirm'
complete -c rollgate -n "__fish_rollgate_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -f -a "show" -d 'Show which process holds the lock, since when, and at which step'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -f -a "break" -d 'Take the lock from its holder, which then stops writing'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and not __fish_seen_subcommand_from show break help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l var -d 'Set a variable; overrides --var-file and `ROLLGATE_VAR_<name>`' -r
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l var-file -d 'Read variables from a file, one `name=value` per line' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -s y -l yes -d 'Do not ask for confirmation'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from break" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show which process holds the lock, since when, and at which step'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from help" -f -a "break" -d 'Take the lock from its holder, which then stops writing'
complete -c rollgate -n "__fish_rollgate_using_subcommand lock; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -l output -d 'Output format' -r -f -a "auto\t'A live view on a terminal, plain lines elsewhere'
tty\t'The live view'
plain\t'One line per change'
jsonl\t'One JSON event per line on stdout'"
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -l color -d 'When to use colour; `NO_COLOR` is honoured' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -l trace -d 'Append every request, command and answer to this file, without secrets: one JSON line each' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -l ci -d 'The CI system whose form the log gets' -r -f -a "auto\t'The system that runs this command, by its variables'
github\t'Groups, errors beside the log, and a summary in Markdown'
gitlab\t'Sections'
jenkins\t'Plain lines'
none\t'Plain lines, on any system'"
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -l log-file -d 'Append everything that is printed for people to this file, with dates and every step' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -l state-dir -d 'Where journals are kept [default: `.rollgate` beside the playbook]' -r -F
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -s q -l quiet -d 'Show only warnings and failures'
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -s v -l verbose -d 'Show every step'
complete -c rollgate -n "__fish_rollgate_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "init" -d 'Write a first playbook, from what Consul, the gateways and the nodes answer'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "check" -d 'Check the playbook file alone and show every problem at once; changes nothing'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "doctor" -d 'Check nodes, gateways and Consul before a release; changes nothing'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "plan" -d 'Show what a release would do to each node, and why; changes nothing'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "deploy" -d 'Run a release: update the nodes, batch by batch'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "resume" -d 'Continue a release that was stopped, failed or interrupted'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "rollback" -d 'Return nodes to the version that they ran before a release'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "status" -d 'Show each node\'s state: version, process, registry, gateways'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "node" -d 'Take nodes out of rotation by hand, or return them, with the checks of a release'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "lock" -d 'Show or break a service\'s lock'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "schema" -d 'Print the JSON Schema of playbooks or of plan files, for editors and programs'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "completions" -d 'Print the completions for a shell'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and not __fish_seen_subcommand_from init check doctor plan deploy resume rollback status node lock schema completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "out" -d 'Take nodes out of rotation and hold them there: mark down, confirm, drain; the service keeps running'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "in" -d 'Return nodes to rotation and end their hold: check health, mark up, confirm'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and __fish_seen_subcommand_from lock" -f -a "show" -d 'Show which process holds the lock, since when, and at which step'
complete -c rollgate -n "__fish_rollgate_using_subcommand help; and __fish_seen_subcommand_from lock" -f -a "break" -d 'Take the lock from its holder, which then stops writing'
