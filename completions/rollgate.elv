set edit:completion:arg-completer[rollgate] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) ROLLGATE_COMPLETE="elvish" rollgate -- $@words) | to-lines
}
