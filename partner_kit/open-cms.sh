#!/bin/sh
# Open a batch in the format `cms` with openssl 3 alone (and sh, sed, awk, tee, head, mkfifo):
#
#   sh open-cms.sh BATCH.manifest.json PRIVATE.pem SENDER.pem OUTPUT_FOLDER [--feed PARTNER.FEED] [--state FILE]
#
# The signature of the manifest and the SHA-256 of every file are checked before anything is opened. openssl writes plaintext
# before it has checked the tag, so files are renamed only when openssl ended well on all and had read what was checked.
# FORMAT.md, section 7, is the specification. Exit codes: 0 opened, 1 refused, 2 wrong usage, 3 a file could not be read or
# written. openssl holds the whole file in memory: plan for three times its size.
set -eu

format=cms
usage="sh $0 BATCH.manifest.json PRIVATE.pem SENDER.pem OUTPUT_FOLDER [--feed PARTNER.FEED] [--state FILE] [--accept-sequence]"
said=
die() {
    said=yes
    printf 'error: %s\n' "$1" >&2
    case $1 in usage:*) exit 2 ;; io:*) exit 3 ;; *) exit 1 ;; esac
}
[ $# -ge 4 ] || { printf 'usage: %s\n' "$usage" >&2; exit 2; }
manifest=$1 key=$2 sender=$3 out=$4 feed='' state='' accept=''
shift 4
while [ $# -gt 0 ]; do
    case $1 in
    --accept-sequence) accept=yes; shift; continue ;;
    --feed) feed=${2:-} ;;
    --state) state=${2:-} ;;
    *) printf 'usage: %s\n' "$usage" >&2; exit 2 ;;
    esac
    [ -n "${2:-}" ] || { printf 'usage: %s\n' "$usage" >&2; exit 2; }
    shift 2
done
[ -f "$key" ] && [ -r "$key" ] || die "usage: $key cannot be read"
[ -f "$sender" ] && [ -r "$sender" ] || die "usage: $sender cannot be read"
set -- -inkey "$key"
[ -z "${SEALIFT_KEY_PASSWORD:-}" ] || set -- "$@" -passin env:SEALIFT_KEY_PASSWORD
case $manifest in */*) folder=${manifest%/*} ;; *) folder=. ;; esac
base=${manifest##*/}
case $base in *manifest.json) base=${base%manifest.json} ;; *) die "usage: $manifest is not a manifest.json" ;; esac
work='' parts='' locked=''
finish() { # what a command that failed leaves is a fault of this machine, not of the batch
    code=$?
    [ -z "$work" ] || rm -rf "$work"
    [ -z "$parts" ] || printf '%s' "$parts" | while IFS= read -r each; do rm -f "$out/$each.part"; done
    [ -z "$locked" ] || rm -f "$state.part"
    [ "$code" -eq 0 ] || [ -n "$said" ] || { printf 'error: io: a file could not be read or written\n' >&2; exit 3; }
}
trap finish EXIT
trap 'said=yes; exit 1' HUP INT TERM
work=$(mktemp -d)
[ -f "$manifest" ] && [ -f "$manifest.sig" ] || die "incomplete: the manifest or its signature is not there"

# The strings of a manifest hold neither quotes nor backslashes, so these patterns cannot match inside one.
text_of() { printf '%s\n' "$2" | sed -n 's/.*[{,]"'"$1"'":"\([^"]*\)".*/\1/p'; }
number_of() { printf '%s\n' "$2" | sed -n 's/.*[{,]"'"$1"'":\([0-9][0-9]*\)[,}].*/\1/p'; }
sha256() { openssl dgst -sha256 -r "$@" | cut -c1-64; }
size_of() { wc -c <"$1" | tr -d ' '; }
small() { # file, its largest size, copy: no more than one byte too many is read, however it grows
    head -c $(($2 + 1)) <"$1" >"$3"
    [ "$(size_of "$3")" -le "$2" ]
}
verify() { # public key, signature, data
    openssl dgst -sha256 -verify "$1" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -signature "$2" "$3" >/dev/null 2>&1
}

# 1. The signature, over exactly the bytes that are read below.
small "$manifest" 33554432 "$work/manifest" || die "signature: the manifest is larger than any real one"
small "$manifest.sig" 1024 "$work/signature" || die "signature: the signature is larger than any real one"
small "$sender" 262144 "$work/sender" || die "usage: $sender is larger than any real one"
if grep -q 'BEGIN CERTIFICATE' "$work/sender"; then
    openssl x509 -in "$work/sender" -noout -pubkey >"$work/sender.pub" 2>/dev/null || die "usage: the sender's certificate cannot be read"
else
    cp "$work/sender" "$work/sender.pub"
fi
bits=$(openssl pkey -pubin -in "$work/sender.pub" -noout -text 2>/dev/null | sed -n 's/^.*Public-Key: (\([0-9]*\) bit.*$/\1/p')
[ "${bits:-0}" -ge 3072 ] || die "usage: the sender's key is not RSA of 3072 bits or more"
# openssl ignores what follows a signature, so its length is checked here.
{ [ "$(size_of "$work/signature")" -eq $(((bits + 7) / 8)) ] && verify "$work/sender.pub" "$work/signature" "$work/manifest"; } ||
    die "signature: the manifest was not signed by this sender, or was changed"

# 2. It is the manifest of this batch and feed; keys.json and every file are there, and are the ones that it names.
awk '{ gsub(/\{"detached":/, "\n&"); print }' "$work/manifest" >"$work/lines"
head=$(grep -v '^{"detached":' "$work/lines")$(tail -n 1 "$work/lines" | sed 's/.*\],"keys_sha256"/,"keys_sha256"/')
grep '^{"detached":' "$work/lines" >"$work/files" || true
case $head in *'"type":"sealift-manifest","version":'[12],*) ;; *) die "manifest: this is not a manifest of version 1 or 2" ;; esac
[ -z "$base" ] || [ "$base" = "$(text_of batch "$head")." ] || die "manifest: it is that of batch $(text_of batch "$head")"
own=$(text_of partner "$head").$(text_of feed "$head")
sequence=$(number_of sequence "$head") previous=$(text_of previous_manifest_sha256 "$head")
digest=$(sha256 "$work/manifest")
printf 'batch %s: sequence %s, manifest %s, previous %s\n' "$(text_of batch "$head")" "$sequence" "$digest" "${previous:-none}"
[ -z "$feed" ] || [ "$feed" = "$own" ] || die "feed: this is a batch of $own, not of $feed"
follows() { # refuse, or with --accept-sequence only report, a batch that does not follow the last one of its feed
    (set -C && : >"$state.part") 2>/dev/null || {
        [ -e "$state.part" ] || [ -h "$state.part" ] || die "usage: $state.part cannot be written"
        die "usage: $state.part is there: another run works with this state, or a killed one left it; then delete it"
    }
    locked=yes
    : >"$work/state"
    if [ -e "$state" ] || [ -h "$state" ]; then
        { [ -f "$state" ] && small "$state" 1048576 "$work/state"; } || die "usage: $state is not a state file of these openers"
        ! grep -Evq '^[A-Za-z0-9][A-Za-z0-9._-]{0,128} (0|[1-9][0-9]{0,15}) [0-9a-f]{64}$' "$work/state" ||
            die "usage: $state is not a state file of these openers"
    fi
    last=$(awk -v feed="$own" '$1 == feed { print $2 }' "$work/state")
    last_digest=$(awk -v feed="$own" '$1 == feed { print $3 }' "$work/state")
    if [ -z "$last" ]; then
        printf 'note: no batch of %s was opened with this state before: there is nothing to compare with\n' "$own"
        return
    elif [ "$sequence" -gt $((last + 1)) ]; then
        text="sequence $sequence follows $last: $((sequence - last - 1)) before it were skipped"
    elif [ "$sequence" -lt "$last" ]; then
        text="sequence $sequence is older than $last, the last that was opened"
    elif [ "$sequence" -eq "$last" ]; then
        text="sequence $sequence was opened before"
        [ "$digest" = "$last_digest" ] || text="$text, from another manifest"
    elif [ -n "$previous" ] && [ "$previous" != "$last_digest" ]; then
        text="sequence $sequence names another manifest before it than the one that was opened"
    else
        return 0
    fi
    [ -n "$accept" ] || die "sequence: $text"
    printf 'note: %s\n' "$text"
}
last=
[ -z "$state" ] || follows
check() { # name, SHA-256, largest size
    case $1 in '' | */* | .* | -* | *.part) die "manifest: a name that this script does not touch: $1" ;; esac
    [ -f "$folder/$1" ] || die "incomplete: $1 is in the manifest but not in the folder"
    [ "$(head -c $(($3 + 1)) <"$folder/$1" | sha256)" = "$2" ] || die "file: $1 is not the file that the manifest names"
}
[ -f "$folder/${base}keys.json" ] || die "incomplete: ${base}keys.json is not there"
[ "$(head -c 33554433 <"$folder/${base}keys.json" | sha256)" = "$(text_of keys_sha256 "$head")" ] ||
    die "keys: keys.json is not the one that the manifest names"
while IFS= read -r file; do
    [ "$(text_of format "$file")" = "$format" ] || die "usage: a file is not in the format $format; open.py opens all formats"
    check "$(text_of sealed_name "$file")" "$(text_of sealed_sha256 "$file")" "$(number_of sealed_bytes "$file")"
done <"$work/files"

# 3. Only now: decrypt into NAME.part, which nobody else may have, and hash what openssl reads. When all files are whole, all
# are renamed; when one is refused, none is left.
mkdir -p "$out"
mkfifo "$work/pipe"
refuse_existing() { [ ! -e "$out/$1" ] && [ ! -h "$out/$1" ] || die "usage: $1 is already in the output folder"; }
while IFS= read -r file <&3; do
    name=$(text_of name "$file")
    case $name in '' | */* | .* | -* | *.part) die "manifest: a name that this script does not touch: $name" ;; esac
    refuse_existing "$name"
    (set -C && : >"$out/$name.part") 2>/dev/null || {
        [ -e "$out/$name.part" ] || [ -h "$out/$name.part" ] || die "io: $out/$name.part cannot be written"
        die "usage: $name.part is in the output folder: another run writes it, or a killed one left it; then delete it"
    }
    parts="$parts$name
"
    exec 4<"$folder/$(text_of sealed_name "$file")"
    sha256 <"$work/pipe" >"$work/digest" &
    head -c $(($(number_of sealed_bytes "$file") + 1)) <&4 | tee "$work/pipe" | openssl cms -decrypt -inform DER "$@" -out "$out/$name.part" ||
        die "cannot-open: $name is for another key, or it was changed or cut"
    wait $!
    exec 4<&-
    [ "$(cat "$work/digest")" = "$(text_of sealed_sha256 "$file")" ] || die "file: $name was replaced while it was opened"
done 3<"$work/files"
while IFS= read -r file <&3; do
    refuse_existing "$(text_of name "$file")"
    mv "$out/$(text_of name "$file").part" "$out/$(text_of name "$file")"
done 3<"$work/files"
parts=
if [ -n "$state" ] && { [ -z "$last" ] || [ "$sequence" -gt "$last" ]; }; then
    { awk -v feed="$own" '$1 != feed' "$work/state" && printf '%s %s %s\n' "$own" "$sequence" "$digest"; } | LC_ALL=C sort >"$state.part"
    mv "$state.part" "$state"
fi
while IFS= read -r file; do printf 'opened %s\n' "$(text_of name "$file")"; done <"$work/files"
