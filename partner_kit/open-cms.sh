#!/bin/sh
# Open a batch in the format `cms` with openssl 3 alone (and sh, sed, awk, tee, mkfifo):
#
#   sh open-cms.sh BATCH.manifest.json PRIVATE.pem SENDER.pem OUTPUT_FOLDER
#
# The signature of the manifest and the SHA-256 of every file are checked before anything is opened. openssl writes plaintext
# before it has checked the tag, so a file is renamed only when openssl ended well and had read what was checked. FORMAT.md,
# section 7, is the specification.
# openssl holds the whole file in memory: plan for three times its size.
set -eu

format=cms
die() {
    printf 'error: %s\n' "$1" >&2
    case $1 in usage:*) exit 2 ;; *) exit 1 ;; esac
}
[ $# -eq 4 ] || { printf 'usage: sh %s BATCH.manifest.json PRIVATE.pem SENDER.pem OUTPUT_FOLDER\n' "$0" >&2; exit 2; }
manifest=$1 sender=$3 out=$4
[ -r "$2" ] || die "usage: $2 cannot be read"
[ -r "$sender" ] || die "usage: $sender cannot be read"
set -- -inkey "$2"
[ -z "${SEALIFT_KEY_PASSWORD:-}" ] || set -- "$@" -passin env:SEALIFT_KEY_PASSWORD
folder=$(dirname "$manifest")
base=$(basename "$manifest" manifest.json)
work=$(mktemp -d)
part=
trap 'rm -rf "$work"; [ -z "$part" ] || rm -f "$part"' EXIT
trap 'exit 1' HUP INT TERM
[ -f "$manifest" ] && [ -f "$manifest.sig" ] || die "incomplete: the manifest or its signature is not there"

# The strings of a manifest hold neither quotes nor backslashes, so these patterns cannot match inside one.
text_of() { printf '%s\n' "$2" | sed -n 's/.*[{,]"'"$1"'":"\([^"]*\)".*/\1/p'; }
sha256() { openssl dgst -sha256 -r "$@" | cut -c1-64; }

# 1. The signature, over exactly the bytes that are read below.
cp "$manifest" "$work/manifest"
cp "$manifest.sig" "$work/signature"
if grep -q 'BEGIN CERTIFICATE' "$sender"; then
    openssl x509 -in "$sender" -noout -pubkey >"$work/sender.pub"
else
    cp "$sender" "$work/sender.pub"
fi
bits=$(openssl pkey -pubin -in "$work/sender.pub" -noout -text | sed -n 's/^.*Public-Key: (\([0-9]*\) bit.*$/\1/p')
[ "${bits:-0}" -ge 3072 ] || die "usage: the sender's key is not RSA of 3072 bits or more"
openssl dgst -sha256 -verify "$work/sender.pub" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 \
    -signature "$work/signature" "$work/manifest" >/dev/null 2>&1 ||
    die "signature: the manifest was not signed by this sender, or was changed"

# 2. It is the manifest of this batch; keys.json and every file are there, and are the ones that it names.
awk '{ gsub(/\{"detached":/, "\n&"); print }' "$work/manifest" >"$work/lines"
head=$(grep -v '^{"detached":' "$work/lines")$(tail -n 1 "$work/lines" | sed 's/.*\],"keys_sha256"/,"keys_sha256"/')
grep '^{"detached":' "$work/lines" >"$work/files" || true
case $head in *'"type":"sealift-manifest","version":1,'*) ;; *) die "manifest: this is not a manifest of version 1" ;; esac
[ -z "$base" ] || [ "$base" = "$(text_of batch "$head")." ] || die "manifest: it is that of batch $(text_of batch "$head")"
check() { # name, SHA-256
    case $1 in '' | */* | .* | -* | *.part) die "manifest: a name that this script does not touch: $1" ;; esac
    [ -f "$folder/$1" ] || die "incomplete: $1 is in the manifest but not in the folder"
    [ "$(sha256 "$folder/$1")" = "$2" ] || die "file: $1 is not the file that the manifest names"
}
check "${base}keys.json" "$(text_of keys_sha256 "$head")"
while IFS= read -r file; do
    [ "$(text_of format "$file")" = "$format" ] || die "usage: a file is not in the format $format; open.py opens all formats"
    check "$(text_of sealed_name "$file")" "$(text_of sealed_sha256 "$file")"
done <"$work/files"

# 3. Only now: decrypt into NAME.part, which nobody else may have, hash what openssl reads, rename.
mkdir -p "$out"
mkfifo "$work/pipe"
while IFS= read -r file <&3; do
    name=$(text_of name "$file")
    case $name in '' | */* | .* | -* | *.part) die "manifest: a name that this script does not touch: $name" ;; esac
    [ ! -e "$out/$name" ] && [ ! -h "$out/$name" ] || die "usage: $name is already in the output folder"
    (set -C && : >"$out/$name.part") 2>/dev/null || {
        [ -e "$out/$name.part" ] || [ -h "$out/$name.part" ] || die "usage: $out/$name.part cannot be written"
        die "usage: $name.part is in the output folder: another run writes it, or a killed one left it; then delete it"
    }
    part=$out/$name.part
    exec 4<"$folder/$(text_of sealed_name "$file")"
    sha256 <"$work/pipe" >"$work/digest" &
    tee "$work/pipe" <&4 | openssl cms -decrypt -inform DER "$@" -out "$part" ||
        die "cannot-open: $name is for another key, or it was changed or cut"
    wait $!
    exec 4<&-
    [ "$(cat "$work/digest")" = "$(text_of sealed_sha256 "$file")" ] || die "file: $name was replaced while it was opened"
    mv "$part" "$out/$name"
    part=
    printf 'opened %s\n' "$name"
done 3<"$work/files"
