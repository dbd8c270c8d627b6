"""The scripts by which shells ask for completions; COMMAND stands for what starts scenelet. See completion.py."""

BASH = r"""
_scenelet() {
    mapfile -t COMPREPLY < <(COMMAND --complete "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=./] ]]; then compopt -o nospace; fi
}
complete -F _scenelet scenelet
"""

ZSH = r"""
_scenelet() {
    local -a found
    found=("${(@f)$(COMMAND --complete "${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" 2>/dev/null)}")
    compadd -S '' -- ${(M)found:#*[=./]}
    compadd -- ${found:#*[=./]}
}
compdef _scenelet scenelet
"""

FISH = r"""
complete --command scenelet --no-files --arguments '(COMMAND --complete (commandline -cp | string collect) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
