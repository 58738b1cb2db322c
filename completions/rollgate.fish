complete --keep-order --exclusive --command rollgate --arguments "(ROLLGATE_COMPLETE=fish rollgate -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
