"""`./sealift completion bash | zsh`: a script that completes verbs, their own verbs and options.

    eval "$(./sealift completion bash)"        # in ~/.bashrc, with the path of your checkout

Verbs are in the script; the options of a verb are asked of `--help` when they are wanted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

COMMAND = Path(__file__).resolve().parent.parent / "sealift"
BASH = r"""_sealift() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} inner=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "@VERBS@" -- "$word"))
        return
    fi
    case $verb in
@INNER@
    esac
    if [ "$COMP_CWORD" -eq 2 ] && [ -n "$inner" ] && [ "${word#-}" = "$word" ]; then
        COMPREPLY=($(compgen -W "$inner" -- "$word"))
    elif [ "${word#-}" != "$word" ]; then
        local asked=("$verb")
        [ -z "$inner" ] || [ "$COMP_CWORD" -lt 3 ] || asked+=("${COMP_WORDS[2]}")
        local options=$("@COMMAND@" "${asked[@]}" --help 2>/dev/null | grep -o -E -e '--[a-z][a-z-]*' | sort -u)
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _sealift sealift ./sealift "@COMMAND@"
"""


def main(argv: list[str]) -> int:
    """Print the script."""
    parser = argparse.ArgumentParser(
        "sealift completion", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="zsh uses bash's by bashcompinit")
    shell = parser.parse_args(argv).shell
    if shell == "zsh":
        print("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit")
    print(script(), end="")
    return 0


def script() -> str:
    """Return bash's script for the verbs as they are."""
    from cli.__main__ import VERBS

    inner = {verb: inner_verbs(text) for verb, (_, text) in VERBS.items()}
    cases = "\n".join(f'    {verb}) inner="{" ".join(words)}" ;;' for verb, words in inner.items() if words)
    text = BASH.replace("@VERBS@", " ".join([*VERBS, "help"])).replace("@INNER@", cases)
    return text.replace("@COMMAND@", str(COMMAND))


def inner_verbs(text: str) -> list[str]:
    """Return the verbs that a verb's line of help begins with, as in `list | show: what`."""
    head = text.partition(":")[0]
    words = [word.strip() for word in head.split("|")]
    return words if len(words) > 1 and all(word.isalpha() for word in words) else []
