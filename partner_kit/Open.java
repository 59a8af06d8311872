// Open a batch of sealed files: java Open.java FOLDER --key PRIVATE.pem --sender SENDER.pem --out DIR
//
// Needs JDK 17 or newer and no libraries. FORMAT.md is the specification; this program was written from it and shares no
// code with the sender. In this order:
//
//   1. the manifest's signature is checked with the sender's certificate (or public key), which you got out of band;
//   2. keys.json and every sealed file must be there, with the size and SHA-256 of the manifest;
//   3. each file is decrypted into NAME.part. When the last byte of all files was authenticated, and the bytes that were
//      decrypted had the size and SHA-256 of the manifest (a file may be replaced after step 2), all are renamed to NAME.
//
// Nothing is opened before 1 and 2 hold for the whole batch, and nothing stays when one file is refused. With --feed it takes
// this feed only; with --state FILE it remembers the last batch of each feed and refuses an older, a repeated or a skipped one
// (FORMAT.md, section 10). Exit codes: 0 opened, 1 refused, 2 wrong usage, 3 a file could not be read or written.
// A key with a password: set SEALIFT_KEY_PASSWORD.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PushbackInputStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.SignatureException;
import java.security.cert.CertificateFactory;
import java.security.interfaces.RSAPrivateKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.time.YearMonth;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.EncryptedPrivateKeyInfo;
import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;

public final class Open {
    static final int CHUNK = 16384;
    static final int BLOCK = 1024 * 1024;
    static final int MAX_HEADER = 65536;
    static final int MAX_DOCUMENT = 33554432;
    static final int MAX_FILES = 10000;
    static final int MAX_RECIPIENTS = 8;
    static final Map<String, Long> MAX_PLAINTEXT = Map.of("native", 1L << 52, "detached", (1L << 36) - 32, "cms", 1L << 30, "openpgp", 1L << 52,
        "smime", 1L << 52);
    static final HexFormat HEX = HexFormat.of();

    /** The batch is not opened; `kind` is one word for scripts. */
    static final class Refused extends Exception {
        private static final long serialVersionUID = 1L;
        final String kind;
        final String text;

        Refused(String kind, String text) {
            super(kind + ": " + text);
            this.kind = kind;
            this.text = text;
        }
    }

    /** One text for another key, a changed file and a cut file: an attacker learns nothing from it. */
    static Refused cannotOpen() {
        return new Refused("cannot-open", "the file is for another key, or it was changed or cut");
    }

    // ---------------------------------------------------------------------------------- strict JSON (FORMAT.md, 3)

    /** Canonical JSON only: no blanks, no escapes, sorted members, whole numbers. `vector` also reads the vectors' form. */
    static final class Json {
        private final byte[] data;
        private final boolean vector;
        private int at;

        Json(byte[] data, boolean vector) {
            this.data = data;
            this.vector = vector;
        }

        Object document() {
            Object value = value(1);
            if (at != data.length) throw new IllegalArgumentException("something follows");
            return value;
        }

        private int peek() {
            while (vector && at < data.length && (data[at] == ' ' || data[at] == '\n')) at++;
            if (at >= data.length) throw new IllegalArgumentException("the text ends");
            return data[at];
        }

        private boolean accept(int wanted) {
            if (peek() != wanted) return false;
            at++;
            if (vector && at < data.length) {
                while (at < data.length && (data[at] == ' ' || data[at] == '\n')) at++;
            }
            return true;
        }

        private void expect(int wanted) {
            if (!accept(wanted)) throw new IllegalArgumentException((char) wanted + " is wanted");
        }

        private Object value(int depth) {
            int first = peek();
            if ((first == '{' || first == '[') && depth > 5) throw new IllegalArgumentException("nested too deep");
            if (first == '{') return object(depth);
            if (first == '[') return array(depth);
            if (first == '"') return text();
            if (word("null")) return null;
            if (vector && word("true")) return true;
            if (vector && word("false")) return false;
            return number();
        }

        private boolean word(String word) {
            byte[] wanted = word.getBytes(StandardCharsets.US_ASCII);
            if (!Arrays.equals(data, at, Math.min(at + wanted.length, data.length), wanted, 0, wanted.length)) return false;
            at += wanted.length;
            return true;
        }

        private Map<String, Object> object(int depth) {
            Map<String, Object> members = new TreeMap<>();
            String last = null;
            expect('{');
            if (accept('}')) return members;
            do {
                String name = text();
                if (last != null && last.compareTo(name) >= 0) throw new IllegalArgumentException("members are not sorted");
                last = name;
                expect(':');
                members.put(name, value(depth + 1));
            } while (accept(','));
            expect('}');
            return members;
        }

        private List<Object> array(int depth) {
            List<Object> items = new ArrayList<>();
            expect('[');
            if (accept(']')) return items;
            do items.add(value(depth + 1)); while (accept(','));
            expect(']');
            return items;
        }

        private String text() {
            if (peek() != '"') throw new IllegalArgumentException("a text is wanted");
            int start = ++at;
            while (at < data.length && data[at] != '"') {
                if (data[at] < 0x20 || data[at] > 0x7e || data[at] == '\\') throw new IllegalArgumentException("foreign character");
                at++;
            }
            if (at >= data.length) throw new IllegalArgumentException("the text ends");
            String found = new String(data, start, at - start, StandardCharsets.US_ASCII);
            at++;
            if (vector && at < data.length) peek();
            return found;
        }

        private Long number() {
            int start = at;
            while (at < data.length && data[at] >= '0' && data[at] <= '9') at++;
            boolean padded = at - start > 1 && data[start] == '0';
            if (at == start || at - start > 16 || padded) throw new IllegalArgumentException("not a whole number");
            long number = Long.parseLong(new String(data, start, at - start, StandardCharsets.US_ASCII));
            if (number >= 1L << 53) throw new IllegalArgumentException("too large a number");
            return number;
        }
    }

    static Predicate<Object> text(String pattern) {
        Pattern compiled = Pattern.compile(pattern);
        return value -> value instanceof String string && compiled.matcher(string).matches();
    }

    static Predicate<Object> only(Object wanted) {
        return value -> wanted.equals(value);
    }

    static Predicate<Object> orNull(Predicate<Object> rule) {
        return value -> value == null || rule.test(value);
    }

    static Predicate<Object> array(Predicate<Object> rule, int smallest, int largest) {
        return value -> value instanceof List<?> list && list.size() >= smallest && list.size() <= largest && list.stream().allMatch(rule);
    }

    /** An object with exactly these members: name, rule, name, rule, ... */
    @SuppressWarnings("unchecked")
    static Predicate<Object> object(Object... rules) {
        Map<String, Predicate<Object>> members = new HashMap<>();
        for (int i = 0; i < rules.length; i += 2) members.put((String) rules[i], (Predicate<Object>) rules[i + 1]);
        return value -> value instanceof Map<?, ?> map && map.keySet().equals(members.keySet())
            && members.entrySet().stream().allMatch(rule -> rule.getValue().test(map.get(rule.getKey())));
    }

    static boolean isWrappedKey(Object value, int smallest, int largest) {
        if (!(value instanceof String text) || text.length() > 1400) return false;
        try {
            byte[] data = Base64.getDecoder().decode(text);
            return data.length >= smallest && data.length <= largest && Base64.getEncoder().encodeToString(data).equals(text);
        } catch (IllegalArgumentException error) {
            return false;
        }
    }

    static Predicate<Object> recipients(String algorithm, int smallest, int largest) {
        Predicate<Object> wrappedKey = value -> isWrappedKey(value, smallest, largest);
        return array(object("alg", only(algorithm), "kid", KID, "wrapped_key", wrappedKey, "x5t#S256", THUMBPRINT), 1, MAX_RECIPIENTS);
    }

    static final Predicate<Object> INTEGER = value -> value instanceof Long;
    static final Predicate<Object> NAME = text("(?!(?i:CON|PRN|AUX|NUL|CLOCK\\$|CONIN\\$|CONOUT\\$|COM[1-9]|LPT[1-9]) *(?:\\.|$))"
        + "(?![. ])[\\x20-\\x7e&&[^/\\\\\":*?<>|]]{1,200}(?<![. ])(?<!\\.[Pp][Aa][Rr][Tt])");
    static final Predicate<Object> BATCH = text("[A-Za-z0-9][A-Za-z0-9._-]{0,199}");
    static final Predicate<Object> WORD = text("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");
    static final Predicate<Object> KID = text("[!#-\\[\\]-~]{1,256}");
    static final Predicate<Object> HASH = text("[0-9a-f]{64}");
    static final Predicate<Object> THUMBPRINT = text("[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"); // 256 bits: the last two of 258 are zero
    static final Predicate<Object> TIME_FORM = text(
        "(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z");
    /** A time of the calendar: there is no 30 February. */
    static final Predicate<Object> TIME = value -> TIME_FORM.test(value)
        && Integer.parseInt(((String) value).substring(8, 10)) <= YearMonth.parse(((String) value).substring(0, 7)).lengthOfMonth();
    static final Predicate<Object> RECIPIENTS = recipients("RSA-OAEP-256", 384, 1024);
    static final Predicate<Object> PGP_RECIPIENTS = recipients("OpenPGP-PKESK", 64, 1036);
    static final Predicate<Object> PKCS1_RECIPIENTS = recipients("RSA1_5", 384, 1024);
    static final Map<String, Set<String>> ALGORITHMS = Map.of("openpgp", Set.of("OpenPGP-PKESK"), "smime", Set.of("RSA1_5", "RSA-OAEP-256"));
    static final Predicate<Object> HEADER = object(
        "batch", BATCH, "body", only("cobblestone-256"), "created", TIME, "name", NAME, "plaintext_bytes", INTEGER,
        "recipients", RECIPIENTS, "type", only("sealift-file"), "version", only(1L));
    static final Predicate<Object> DETACHED = object(
        "key_name", NAME, "key_sha256", HASH, "nonce", text("[0-9a-f]{24}"), "tag", text("[0-9a-f]{32}"));
    static final Predicate<Object> FILE = object(
        "detached", orNull(DETACHED), "format", text("native|detached|cms|openpgp|smime"), "name", NAME, "plaintext_bytes", INTEGER,
        "recipients", array(object("kid", KID, "x5t#S256", THUMBPRINT), 1, MAX_RECIPIENTS), "rows", orNull(INTEGER),
        "sealed_bytes", INTEGER, "sealed_name", NAME, "sealed_sha256", HASH);
    static final Predicate<Object> TOTALS = object(
        "files", INTEGER, "plaintext_bytes", INTEGER, "rows", orNull(INTEGER), "sealed_bytes", INTEGER);
    static final Predicate<Object> SUMS = array(
        object("column", text("[A-Za-z_][A-Za-z0-9_]{0,127}"), "sum", text("(?!-0$)-?(0|[1-9][0-9]{0,99})(\\.[0-9]{0,11}[1-9])?")), 0, 256);
    static final Predicate<Object> MANIFEST = manifest(1L, array(FILE, 0, MAX_FILES), TOTALS)
        .or(manifest(2L, array(and("sums", SUMS, FILE), 1, MAX_FILES), and("sums", SUMS, TOTALS)));

    static Predicate<Object> manifest(long version, Predicate<Object> files, Predicate<Object> totals) {
        return object(
            "batch", BATCH, "created", TIME, "feed", WORD, "files", files, "keys_sha256", HASH, "partner", WORD,
            "previous_manifest_sha256", orNull(HASH), "record_head", orNull(HASH), "sequence", INTEGER,
            "signature", only("RSA-PSS-SHA256"), "signing_key", KID, "totals", totals,
            "type", only("sealift-manifest"), "version", only(version), "window_end", TIME, "window_start", TIME);
    }

    /** An object that has one member more than another rule says. */
    static Predicate<Object> and(String name, Predicate<Object> more, Predicate<Object> rule) {
        return value -> {
            if (!(value instanceof Map<?, ?> map) || !more.test(map.get(name))) return false;
            Map<Object, Object> rest = new HashMap<>(map);
            rest.remove(name);
            return rule.test(rest);
        };
    }

    static final Predicate<Object> KEYS = object(
        "batch", BATCH,
        "files", array(
            object("name", NAME, "recipients", RECIPIENTS.or(PGP_RECIPIENTS).or(PKCS1_RECIPIENTS), "sealed_name", NAME, "sealed_sha256", HASH), 0, MAX_FILES),
        "type", only("sealift-keys"), "version", only(1L));

    /** Some object of a document that followed its rule, so that members have the types that are asked for. */
    record Doc(Map<?, ?> members) {
        String text(String name) {
            return (String) members.get(name);
        }

        Long number(String name) {
            return (Long) members.get(name);
        }

        Doc object(String name) {
            return members.get(name) == null ? null : new Doc((Map<?, ?>) members.get(name));
        }

        List<Doc> objects(String name) {
            return ((List<?>) members.get(name)).stream().map(each -> new Doc((Map<?, ?>) each)).toList();
        }
    }

    static Doc parse(byte[] data, Predicate<Object> rule, String kind, String what) throws Refused {
        try {
            Object value = new Json(data, false).document();
            if (rule.test(value)) return new Doc((Map<?, ?>) value);
        } catch (IllegalArgumentException error) {
            // told below: what exactly is wrong helps nobody but an attacker
        }
        throw new Refused(kind, what + " is not written as FORMAT.md says");
    }

    // ------------------------------------------------------------------------------ the batch (FORMAT.md, 8 to 10)

    /** Open for reading what is a regular file; a pipe or device would give bytes without an end, or wait for ever. */
    static InputStream openRegular(Path file) throws Refused, IOException {
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new Refused("incomplete", file.getFileName() + " cannot be read: it is no regular file");
        }
        try {
            return Files.newInputStream(file);
        } catch (NoSuchFileException error) {
            throw new Refused("incomplete", file.getFileName() + " cannot be read: it is not there");
        }
    }

    /** Return a small file's bytes; never reads more than one byte too many, however the file grows. */
    static byte[] readSmall(Path file, int largest, String kind) throws Refused, IOException {
        try (InputStream source = openRegular(file)) {
            byte[] data = source.readNBytes(largest + 1);
            if (data.length > largest) throw new Refused(kind, file.getFileName() + " is larger than any real one");
            return data;
        }
    }

    static List<String> namesIn(Path folder) throws IOException {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.filter(Files::isRegularFile).map(path -> path.getFileName().toString()).sorted().toList();
        }
    }

    record Place(Path folder, String prefix) {}

    /** Return the folder and the file names' beginning of a batch, given its manifest or the folder that it lies in. */
    static Place findBatch(Path given, String batch) throws Refused, IOException {
        String suffix = "manifest.json";
        String name = given.toAbsolutePath().getFileName().toString();
        if (name.endsWith(suffix)) {
            if (!Files.isRegularFile(given)) throw new Refused("incomplete", "there is no manifest: the batch is not complete yet");
            return new Place(given.toAbsolutePath().getParent(), name.substring(0, name.length() - suffix.length()));
        }
        if (!Files.isDirectory(given)) throw new Refused("usage", given + " is neither a folder nor a manifest.json");
        List<String> found = namesIn(given).stream()
            .filter(each -> each.equals(suffix) || each.endsWith("." + suffix))
            .map(each -> each.substring(0, each.length() - suffix.length()))
            .filter(prefix -> batch == null || prefix.equals(batch + "."))
            .toList();
        if (found.isEmpty()) throw new Refused("incomplete", "there is no manifest: the batch is not complete yet");
        if (found.size() > 1) {
            throw new Refused("usage", "the folder holds " + found.size() + " batches; choose one with --batch");
        }
        return new Place(given, found.get(0));
    }

    record Batch(Doc manifest, Map<String, List<Doc>> recipients, String digest) {}

    static Batch readBatch(Path folder, String prefix, PublicKey sender) throws Refused, IOException, GeneralSecurityException {
        byte[] signed = readSmall(folder.resolve(prefix + "manifest.json"), MAX_DOCUMENT, "signature");
        byte[] signature = readSmall(folder.resolve(prefix + "manifest.json.sig"), 1024, "signature");
        if (!isSigned(signed, signature, sender)) {
            throw new Refused("signature", "the manifest was not signed by this sender, or was changed");
        }
        Doc manifest = parse(signed, MANIFEST, "manifest", "the manifest");
        checkManifest(manifest, prefix);
        byte[] keysBytes = readSmall(folder.resolve(prefix + "keys.json"), MAX_DOCUMENT, "keys");
        if (!HEX.formatHex(MessageDigest.getInstance("SHA-256").digest(keysBytes)).equals(manifest.text("keys_sha256"))) {
            throw new Refused("keys", "keys.json is not the one that the manifest names");
        }
        Doc keys = parse(keysBytes, KEYS, "keys", "keys.json");
        checkKeys(keys, manifest);
        Map<String, List<Doc>> recipients = new HashMap<>();
        for (Doc file : keys.objects("files")) recipients.put(file.text("sealed_name"), file.objects("recipients"));
        return new Batch(manifest, recipients, HEX.formatHex(MessageDigest.getInstance("SHA-256").digest(signed)));
    }

    static boolean isSigned(byte[] data, byte[] signature, PublicKey sender) throws GeneralSecurityException {
        Signature verifier = Signature.getInstance("RSASSA-PSS");
        verifier.setParameter(new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1));
        verifier.initVerify(sender);
        verifier.update(data);
        try {
            return verifier.verify(signature);
        } catch (SignatureException error) {
            return false;
        }
    }

    static void checkManifest(Doc manifest, String prefix) throws Refused {
        List<Doc> files = manifest.objects("files");
        Set<String> names = new HashSet<>();
        Set<String> stored = new HashSet<>();
        long plaintext = 0;
        long sealed = 0;
        Long rows = 0L;
        for (Doc file : files) {
            Doc detached = file.object("detached");
            boolean twice = !names.add(file.text("name").toLowerCase(Locale.ROOT));
            twice |= !stored.add(file.text("sealed_name").toLowerCase(Locale.ROOT));
            twice |= detached != null && !stored.add(detached.text("key_name").toLowerCase(Locale.ROOT));
            if (twice) throw new Refused("manifest", "it names a file twice");
            if (file.text("format").equals("detached") != (detached != null)) {
                throw new Refused("manifest", "a detached file lacks its tag");
            }
            if (file.number("plaintext_bytes") > MAX_PLAINTEXT.get(file.text("format"))) {
                throw new Refused("manifest", "a file is larger than its format holds");
            }
            plaintext = add(plaintext, file.number("plaintext_bytes"));
            sealed = add(sealed, file.number("sealed_bytes"));
            rows = rows == null || file.number("rows") == null ? null : Long.valueOf(add(rows, file.number("rows")));
        }
        Doc totals = manifest.object("totals");
        if (totals.number("files") != files.size() || totals.number("plaintext_bytes") != plaintext
            || totals.number("sealed_bytes") != sealed || !Objects.equals(totals.number("rows"), rows)
            || manifest.number("version") == 2 && !sumsAddUp(files, totals.objects("sums"))) {
            throw new Refused("manifest", "its totals are not the sums of its files");
        }
        if (!prefix.isEmpty() && !prefix.equals(manifest.text("batch") + ".")) {
            throw new Refused("manifest", "the manifest is that of batch " + manifest.text("batch"));
        }
        if (manifest.text("window_start").compareTo(manifest.text("window_end")) > 0) {
            throw new Refused("manifest", "its window ends before it starts");
        }
    }

    /** Add two numbers below 2^53, or stay at 2^53, which no total reaches: many large ones must not wrap around. */
    static long add(long one, long other) {
        return Math.min(one + other, 1L << 53);
    }

    /** Return whether every file has the sums of the same columns, in the order of their names, and the totals are exactly their sums. */
    static boolean sumsAddUp(List<Doc> files, List<Doc> totals) {
        List<String> columns = totals.stream().map(each -> each.text("column")).toList();
        boolean sound = columns.equals(columns.stream().sorted().distinct().toList());
        List<BigDecimal> left = new ArrayList<>(totals.stream().map(each -> new BigDecimal(each.text("sum"))).toList());
        for (Doc file : files) {
            List<Doc> sums = file.objects("sums");
            if (!sums.stream().map(each -> each.text("column")).toList().equals(columns)) return false;
            for (int i = 0; i < sums.size(); i++) left.set(i, left.get(i).subtract(new BigDecimal(sums.get(i).text("sum"))));
        }
        return sound && left.stream().allMatch(each -> each.signum() == 0);
    }

    static void checkKeys(Doc keys, Doc manifest) throws Refused {
        List<Doc> files = keys.objects("files");
        List<Doc> listed = manifest.objects("files");
        boolean sound = keys.text("batch").equals(manifest.text("batch")) && files.size() == listed.size();
        for (int i = 0; sound && i < files.size(); i++) {
            for (String member : List.of("name", "sealed_name", "sealed_sha256")) {
                sound &= files.get(i).text(member).equals(listed.get(i).text(member));
            }
            List<Doc> mine = files.get(i).objects("recipients");
            sound &= mine.stream().map(Open::idOf).toList().equals(listed.get(i).objects("recipients").stream().map(Open::idOf).toList());
            sound &= mine.stream().map(each -> each.text("x5t#S256")).distinct().count() == mine.size();
            sound &= ALGORITHMS.getOrDefault(listed.get(i).text("format"), Set.of("RSA-OAEP-256")).contains(mine.get(0).text("alg"));
        }
        if (!sound) throw new Refused("keys", "keys.json does not fit the manifest");
    }

    static String idOf(Doc recipient) {
        return recipient.text("x5t#S256") + recipient.text("kid");
    }

    /** Every listed file is there, with its size and hash. Files that are not listed are never opened. */
    static void checkFiles(Path folder, Doc manifest) throws Refused, IOException, GeneralSecurityException {
        for (Doc file : manifest.objects("files")) {
            checkFile(folder, file.text("sealed_name"), file.number("sealed_bytes"), file.text("sealed_sha256"));
            Doc detached = file.object("detached");
            if (detached != null) checkFile(folder, detached.text("key_name"), null, detached.text("key_sha256"));
        }
    }

    static void checkFile(Path folder, String name, Long size, String digest) throws Refused, IOException, GeneralSecurityException {
        Path stored = folder.resolve(name);
        if (!Files.isRegularFile(stored)) throw new Refused("incomplete", name + " is in the manifest but not in the folder");
        Measured found = measure(stored, size == null ? 1024 : size);
        if (size != null && found.size != size || !found.sha256.equals(digest)) {
            throw new Refused("file", name + " is not the file that the manifest names");
        }
    }

    record Measured(long size, String sha256) {}

    /** Return size and SHA-256 of a file of which no more than one byte too many is read. */
    static Measured measure(Path file, long largest) throws Refused, IOException, GeneralSecurityException {
        try (HashedInput source = new HashedInput(openRegular(file))) {
            byte[] block = new byte[BLOCK];
            while (source.size <= largest && source.read(block, 0, (int) Math.min(BLOCK, largest + 1 - source.size)) >= 0);
            return new Measured(source.size, source.sha256());
        }
    }

    static List<String> unlisted(Path folder, String prefix, Doc manifest) throws IOException {
        Set<String> listed = new HashSet<>(List.of(prefix + "manifest.json", prefix + "manifest.json.sig", prefix + "keys.json"));
        for (Doc file : manifest.objects("files")) {
            listed.add(file.text("sealed_name"));
            if (file.object("detached") != null) listed.add(file.object("detached").text("key_name"));
        }
        return namesIn(folder).stream().filter(name -> !listed.contains(name)).toList();
    }

    // ---------------------------------------------------------------------------------- the files (FORMAT.md, 4 to 7, 18)

    /** Return the file key; random bytes when none unwraps, so that the failure looks the same as for a changed file. */
    static byte[] unwrap(List<byte[]> wrappedKeys, RSAPrivateKey key) throws GeneralSecurityException {
        return unwrap(wrappedKeys, key, false);
    }

    static byte[] unwrap(List<byte[]> wrappedKeys, RSAPrivateKey key, boolean isPkcs1) throws GeneralSecurityException {
        for (byte[] wrapped : wrappedKeys) {
            if (wrapped.length != (key.getModulus().bitLength() + 7) / 8) continue;
            try {
                byte[] fileKey = isPkcs1 ? pkcs1Decrypt(wrapped, key) : oaepDecrypt(wrapped, key);
                if (fileKey.length == 32) return fileKey;
            } catch (javax.crypto.BadPaddingException error) {
                // not for this key
            }
        }
        byte[] random = new byte[32];
        new SecureRandom().nextBytes(random);
        return random;
    }

    static byte[] oaepDecrypt(byte[] wrapped, RSAPrivateKey key) throws GeneralSecurityException {
        // The transformation's name would take MGF1 with SHA-1: the parameters must be given.
        OAEPParameterSpec oaep = new OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, PSource.PSpecified.DEFAULT);
        Cipher rsa = Cipher.getInstance("RSA/ECB/OAEPPadding");
        rsa.init(Cipher.DECRYPT_MODE, key, oaep);
        return rsa.doFinal(wrapped);
    }

    static byte[] pkcs1Decrypt(byte[] wrapped, RSAPrivateKey key) throws GeneralSecurityException {
        Cipher rsa = Cipher.getInstance("RSA/ECB/PKCS1Padding");
        rsa.init(Cipher.DECRYPT_MODE, key);
        return rsa.doFinal(wrapped);
    }

    static List<byte[]> wrappedKeys(List<Doc> recipients) {
        return recipients.stream().map(each -> Base64.getDecoder().decode(each.text("wrapped_key"))).toList();
    }

    static void openNative(InputStream source, Doc manifest, Doc file, List<Doc> recipients, RSAPrivateKey key, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        byte[] prefix = source.readNBytes(12);
        if (prefix.length < 12 || !Arrays.equals(prefix, 0, 8, "SEALIFT\1".getBytes(StandardCharsets.US_ASCII), 0, 8)) {
            throw new Refused("header", "it does not begin with SEALIFT and version 1");
        }
        long length = ByteBuffer.wrap(prefix).getInt(8) & 0xffffffffL;
        if (length < 2 || length > MAX_HEADER) throw new Refused("header", "it claims a header of " + length + " bytes");
        byte[] encoded = source.readNBytes((int) length);
        if (encoded.length != length) throw new Refused("header", "the file ends in its header");
        Doc header = parse(encoded, HEADER, "header", "the header");
        List<Doc> named = header.objects("recipients");
        if (named.stream().map(each -> each.text("x5t#S256")).distinct().count() != named.size()) {
            throw new Refused("header", "it names a recipient twice");
        }
        if (!header.text("batch").equals(manifest.text("batch")) || !header.text("name").equals(file.text("name"))
            || !header.number("plaintext_bytes").equals(file.number("plaintext_bytes"))) {
            throw new Refused("header", "it is the header of another file");
        }
        if (!named.equals(recipients)) throw new Refused("header", "its recipients are not those of keys.json");
        MessageDigest context = MessageDigest.getInstance("SHA-256");
        context.update(prefix);
        context.update(encoded);
        decryptChunks(source, unwrap(wrappedKeys(named), key), context.digest(), file.number("plaintext_bytes"), sink);
    }

    /** The body is C2SP chunked-encryption with AES-256-GCM. */
    static void decryptChunks(InputStream source, byte[] fileKey, byte[] context, long plaintextBytes, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        byte[] salt = source.readNBytes(24);
        byte[] commitment = source.readNBytes(32);
        ByteArrayOutputStream info = new ByteArrayOutputStream();
        info.write("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0".getBytes(StandardCharsets.US_ASCII));
        info.write(salt);
        info.write(context);
        byte[] okm = expand(fileKey, info.toByteArray());
        if (!MessageDigest.isEqual(Arrays.copyOfRange(okm, 44, 76), commitment)) throw cannotOpen();
        SecretKeySpec key = new SecretKeySpec(okm, 0, 32, "AES");
        ByteBuffer nonce = ByteBuffer.wrap(okm, 32, 12).slice();
        long low = nonce.getLong(4);
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        byte[] sealed = new byte[CHUNK + 16];
        byte[] plaintext = new byte[CHUNK + 16];
        long done = 0;
        int size = sealed.length;
        for (long index = 0; size == sealed.length; index++) {
            size = source.readNBytes(sealed, 0, sealed.length);
            if (size < 16) throw cannotOpen();
            nonce.putLong(4, low ^ index); // chunk numbers stay far below 2^64
            byte[] iv = Arrays.copyOfRange(nonce.array(), 32, 44);
            cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, iv));
            try {
                int got = cipher.doFinal(sealed, 0, size, plaintext);
                done += got;
                if (done > plaintextBytes) throw cannotOpen();
                sink.write(plaintext, 0, got);
            } catch (AEADBadTagException error) {
                throw cannotOpen();
            }
        }
        if (done != plaintextBytes) throw cannotOpen();
    }

    /** HKDF-Expand with SHA-512: two blocks are enough for 76 bytes. */
    static byte[] expand(byte[] key, byte[] info) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA512");
        mac.init(new SecretKeySpec(key, "HmacSHA512"));
        mac.update(info);
        mac.update((byte) 1);
        byte[] first = mac.doFinal();
        mac.update(first);
        mac.update(info);
        mac.update((byte) 2);
        byte[] okm = Arrays.copyOf(first, 128);
        System.arraycopy(mac.doFinal(), 0, okm, 64, 64);
        return okm;
    }

    static final String SHA256_ALGORITHM = "300d06096086480165030402010500";
    static final String CMS_OAEP =
        "303c06092a864886f70d010107302fa00f" + SHA256_ALGORITHM + "a11c301a06092a864886f70d010108" + SHA256_ALGORITHM;

    /** Read AuthEnvelopedData in DER, then its one GCM message. */
    static void openCms(InputStream source, Doc file, RSAPrivateKey key, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        Der der = new Der(source);
        long length = der.enter(0x30, 1L << 32, "ContentInfo");
        long end = der.position + length;
        der.is("060b2a864886f70d0109100117", "authEnvelopedData");
        der.enterUntil(0xa0, end, "content");
        der.enterUntil(0x30, end, "AuthEnvelopedData");
        der.is("020100", "version 0");
        List<byte[]> wrapped = cmsRecipients(der.read((int) der.enter(0x31, MAX_HEADER, "recipientInfos")), CMS_OAEP);
        der.enterUntil(0x30, end - 18, "authEncryptedContentInfo");
        der.is("06092a864886f70d010701301e060960864801650304012e3011040c", "data, aes256-GCM");
        byte[] nonce = der.read(12);
        der.is("020110", "a tag of 16 bytes");
        if (der.enterUntil(0x80, end - 18, "ciphertext") != file.number("plaintext_bytes")) {
            throw new Refused("header", "its size is not that of the manifest");
        }
        decryptMessage(source, unwrap(wrapped, key), nonce, file.number("plaintext_bytes"), null, sink);
    }

    /** Reads tags and definite lengths, in as few bytes as they take. */
    static final class Der {
        private final InputStream source;
        long position;

        Der(InputStream source) {
            this.source = source;
        }

        byte[] read(int count) throws IOException {
            byte[] part = source.readNBytes(count);
            position += part.length;
            return part;
        }

        /** Enter an element that is no longer than that; return its length. */
        long enter(int tag, long largest, String what) throws Refused, IOException {
            long length = length(tag);
            if (length < 0 || length > largest) throw new Refused("header", "it is not CMS in DER: " + what + " is wanted");
            return length;
        }

        /** Enter an element that ends there. */
        long enterUntil(int tag, long end, String what) throws Refused, IOException {
            long length = length(tag);
            if (length < 0 || position + length != end) throw new Refused("header", "it is not CMS in DER: " + what + " is wanted");
            return length;
        }

        private long length(int tag) throws IOException {
            byte[] head = read(2);
            if (head.length < 2 || (head[0] & 0xff) != tag) return -1;
            int first = head[1] & 0xff;
            if (first < 0x80) return first;
            if (first == 0x80 || first > 0x84) return -1;
            long length = 0;
            for (byte each : read(first - 0x80)) length = length * 256 + (each & 0xff);
            return length >= Math.max(0x80, 1L << 8 * (first - 0x81)) ? length : -1;
        }

        void is(String wanted, String what) throws Refused, IOException {
            if (!HEX.formatHex(read(wanted.length() / 2)).equals(wanted)) {
                throw new Refused("header", "it is not CMS as FORMAT.md says: " + what + " is wanted");
            }
        }
    }

    static List<byte[]> cmsRecipients(byte[] data, String algorithm) throws Refused, IOException {
        List<byte[]> wrapped = new ArrayList<>();
        Der all = new Der(new ByteArrayInputStream(data));
        byte[] last = new byte[0];
        while (all.position < data.length) {
            int size = (int) all.enter(0x30, MAX_HEADER, "a recipient");
            byte[] recipient = all.read(size);
            Der der = new Der(new ByteArrayInputStream(recipient));
            der.is("020100", "recipient version 0");
            der.read((int) der.enter(0x30, MAX_HEADER, "issuer and serial number"));
            der.is(algorithm, "the way in which keys.json says that the key is wrapped");
            byte[] key = der.read((int) der.enterUntil(0x04, size, "a wrapped key"));
            if (recipient.length != size || key.length < 384 || key.length > 1024) throw new Refused("header", "a recipient of the CMS file is malformed");
            if (Arrays.compareUnsigned(last, recipient) > 0) throw new Refused("header", "the recipients are not in DER order");
            last = recipient;
            wrapped.add(key);
        }
        if (wrapped.isEmpty() || wrapped.size() > MAX_RECIPIENTS) {
            throw new Refused("header", "the CMS file has " + wrapped.size() + " recipients");
        }
        return wrapped;
    }

    static final String CMS_PKCS1 = "300d06092a864886f70d0101010500";
    static final int SEGMENT = 65536;
    static final String SIGNED_HEAD =
        "308006092a864886f70d010702a0803080020101310f300d06096086480165030402010500308006092a864886f70d010701a0802480";

    /** The text around an S/MIME file: what begins it, what ends it, and what ends each of its lines. */
    record Armour(String head, String tail, String end) {}

    static final Map<Integer, Armour> ARMOURS = Map.of(
        (int) '-', new Armour("-----BEGIN CMS-----\n", "-----END CMS-----\n", "\n"),
        (int) 'M', new Armour("MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"\r\n"
            + "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n", "", "\r\n"));

    /** The bytes inside armour, of which text there are `left` characters in lines of 64. */
    static final class Lines extends InputStream {
        private final InputStream source;
        private final Armour armour;
        private long left;
        private byte[] ready = new byte[0];
        private int at;

        Lines(InputStream source, Armour armour, long left) {
            this.source = source;
            this.armour = armour;
            this.left = left;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] data, int offset, int count) throws IOException {
            if (at == ready.length && left > 0) decode();
            if (at == ready.length) return count == 0 ? 0 : -1;
            int got = Math.min(count, ready.length - at);
            System.arraycopy(ready, at, data, offset, got);
            at += got;
            return got;
        }

        private void decode() throws IOException {
            int wanted = (int) Math.min(left, 1024L * (64 + armour.end.length()));
            String text = new String(source.readNBytes(wanted), StandardCharsets.ISO_8859_1);
            left -= wanted;
            boolean sound = text.length() == wanted && text.endsWith(armour.end);
            StringBuilder base64 = new StringBuilder();
            for (int start = 0; sound && start < wanted; start += 64 + armour.end.length()) {
                int end = Math.min(start + 64, wanted - armour.end.length());
                sound = text.startsWith(armour.end, end) && (end - start == 64 || left == 0 && end + armour.end.length() == wanted);
                base64.append(text, start, end);
            }
            try {
                ready = Base64.getDecoder().decode(base64.toString());
                sound &= Base64.getEncoder().encodeToString(ready).contentEquals(base64);
            } catch (IllegalArgumentException error) {
                sound = false;
            }
            at = 0;
            if (left == 0 && !armour.tail.isEmpty()) {
                byte[] tail = armour.tail.getBytes(StandardCharsets.US_ASCII);
                sound &= Arrays.equals(source.readNBytes(tail.length + 1), tail);
            }
            if (!sound) throw new Malformed("its armour is not base64 in lines of 64 characters");
        }
    }

    /** A fault of a file that shows where only IOException may be thrown; it is no fault of the machine. */
    static final class Malformed extends IOException {
        private static final long serialVersionUID = 1L;

        Malformed(String text) {
            super(text);
        }
    }

    /** Read EnvelopedData in BER; the manifest, which holds its SHA-256, is all that proves its content. */
    static void openSmime(InputStream source, Doc file, List<Doc> recipients, RSAPrivateKey key, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        try {
            decryptSmime(source, file, recipients, key, sink);
        } catch (Malformed error) {
            throw new Refused("header", error.getMessage());
        } catch (Cut error) {
            throw cannotOpen();
        }
    }

    private static void decryptSmime(InputStream source, Doc file, List<Doc> recipients, RSAPrivateKey key, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        PushbackInputStream begun = new PushbackInputStream(source);
        int start = begun.read();
        if (start >= 0) begun.unread(start);
        InputStream inside = begun;
        long fileBytes = file.number("sealed_bytes");
        Armour armour = ARMOURS.get(start);
        if (armour != null) {
            if (!new String(begun.readNBytes(armour.head.length()), StandardCharsets.ISO_8859_1).equals(armour.head)) {
                throw new Refused("header", "its armour does not begin as FORMAT.md says");
            }
            long textBytes = fileBytes - armour.head.length() - armour.tail.length();
            long lines = -Math.floorDiv(-textBytes, 64 + armour.end.length());
            fileBytes = (textBytes - lines * armour.end.length()) / 4 * 3; // up to two more than in truth
            inside = new Lines(begun, armour, textBytes);
        }
        Der der = new Der(inside);
        der.is("308006092a864886f70d010703a0803080020100", "envelopedData, version 0");
        byte[] infos = der.read((int) der.enter(0x31, MAX_HEADER, "recipientInfos"));
        boolean isPkcs1 = recipients.get(0).text("alg").equals("RSA1_5");
        List<byte[]> wrapped = cmsRecipients(infos, isPkcs1 ? CMS_PKCS1 : CMS_OAEP);
        der.is("308006092a864886f70d010701301d060960864801650304012a0410", "data, aes256-CBC");
        byte[] iv = der.read(16);
        der.is("a080", "segments");
        if (iv.length != 16) throw cannotOpen();
        long plaintextBytes = file.number("plaintext_bytes");
        long unsigned = (plaintextBytes / 16 + 1) * 16;
        boolean isSigned = fileBytes - der.position - unsigned - 5 * (unsigned / SEGMENT) > 64;
        Cipher cipher = Cipher.getInstance("AES/CBC/NoPadding");
        cipher.init(Cipher.DECRYPT_MODE, new SecretKeySpec(unwrap(wrapped, key, isPkcs1), "AES"), new IvParameterSpec(iv));
        InputStream content = new Unpadded(new Segments(inside), cipher);
        long done;
        if (isSigned) {
            if (!HEX.formatHex(content.readNBytes(SIGNED_HEAD.length() / 2)).equals(SIGNED_HEAD)) throw cannotOpen();
            done = copy(new Segments(content), sink, plaintextBytes);
            byte[] rest = content.readNBytes(65537); // the signature says no more than that of the manifest, and is left alone
            if (rest.length > 65536 || rest.length < 10 || !isZero(rest, 0, 4) || !isZero(rest, rest.length - 6, rest.length)) throw cannotOpen();
        } else done = copy(content, sink, plaintextBytes);
        byte[] ends = inside.readNBytes(9);
        if (done != plaintextBytes || ends.length != 8 || !isZero(ends, 0, 8)) throw cannotOpen();
    }

    static boolean isZero(byte[] data, int from, int to) {
        for (int i = from; i < to; i++) if (data[i] != 0) return false;
        return true;
    }

    /** Copy to the end, but not more than that; return how many bytes there were, or one more than allowed. */
    static long copy(InputStream from, OutputStream to, long most) throws IOException {
        byte[] piece = new byte[SEGMENT];
        long done = 0;
        for (int got = 0; (got = from.read(piece, 0, piece.length)) >= 0; done += got) {
            if (done + got > most) return most + 1;
            to.write(piece, 0, got);
        }
        return done;
    }

    /** What is in OCTET STRINGs of 65,536 bytes, of which the last may be shorter, up to two zero bytes. */
    static final class Segments extends InputStream {
        private final InputStream source;
        private int before = -1;
        private int left;
        private boolean isEnded;

        Segments(InputStream source) {
            this.source = source;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] data, int offset, int count) throws IOException {
            while (left == 0 && !isEnded) begin();
            if (isEnded) return -1;
            int got = source.read(data, offset, Math.min(count, left));
            if (got < 0) throw new Cut();
            left -= got;
            return got;
        }

        private void begin() throws IOException {
            int tag = source.read();
            int first = source.read();
            if (tag == 0 && first == 0) {
                isEnded = true;
                return;
            }
            if (tag != 4 || first < 0 || first == 0x80 || first > 0x83) throw new Cut();
            int size = first;
            if (first > 0x80) {
                size = 0;
                for (byte each : source.readNBytes(first - 0x80)) size = size << 8 | each & 0xff;
                if (size < Math.max(0x80, 1 << 8 * (first - 0x81))) throw new Cut();
            }
            boolean fits = before < 0 ? size <= SEGMENT : size > 0 && size <= SEGMENT && before == SEGMENT;
            if (!fits) throw new Cut();
            before = size;
            left = size;
        }
    }

    /** What is decrypted by CBC, without its padding, of which the last 16 bytes are held back until they are known to be the last. */
    static final class Unpadded extends InputStream {
        private final InputStream source;
        private final Cipher cipher;
        private byte[] ready = new byte[0];
        private int at;
        private int end;
        private boolean isEnded;

        Unpadded(InputStream source, Cipher cipher) {
            this.source = source;
            this.cipher = cipher;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] data, int offset, int count) throws IOException {
            while (at == end && !isEnded) decrypt();
            if (at == end) return -1;
            int got = Math.min(count, end - at);
            System.arraycopy(ready, at, data, offset, got);
            at += got;
            return got;
        }

        private void decrypt() throws IOException {
            byte[] sealed = source.readNBytes(SEGMENT);
            byte[] last = Arrays.copyOfRange(ready, end, ready.length);
            isEnded = sealed.length == 0;
            byte[] opened = isEnded ? new byte[0] : cipher.update(sealed);
            int size = opened == null ? 0 : opened.length;
            if (size != sealed.length) throw new Cut();
            ready = Arrays.copyOf(last, last.length + size);
            if (size > 0) System.arraycopy(opened, 0, ready, last.length, size);
            at = 0;
            end = Math.max(0, ready.length - 16);
            if (isEnded) end = ready.length - padding();
        }

        private int padding() throws IOException {
            int count = ready.length == 16 ? ready[15] & 0xff : 0;
            if (count < 1 || count > 16) throw new Cut();
            for (int i = 16 - count; i < 16; i++) if (ready[i] != count) throw new Cut();
            return count;
        }
    }

    /** The stream of a file is not what was written: another key, a change or a cut. */
    static final class Cut extends IOException {
        private static final long serialVersionUID = 1L;
    }

    /**
     * Decrypt one AES-256-GCM message; the caller throws everything away unless this ends without an error.
     *
     * The JDK's GCM keeps a whole message in memory until its tag was seen, so this takes GCM apart: its keystream is CTR
     * from counter 2, its tag is GHASH under the keystream of counter 1.
     */
    static void decryptMessage(InputStream source, byte[] fileKey, byte[] nonce, long plaintextBytes, byte[] tag, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        SecretKeySpec key = new SecretKeySpec(fileKey, "AES");
        Cipher block = Cipher.getInstance("AES/ECB/NoPadding");
        block.init(Cipher.ENCRYPT_MODE, key);
        byte[] counter = Arrays.copyOf(nonce, 16);
        counter[15] = 1;
        byte[] mask = block.doFinal(counter);
        Ghash ghash = new Ghash(block.doFinal(new byte[16]));
        counter[15] = 2;
        Cipher stream = Cipher.getInstance("AES/CTR/NoPadding");
        stream.init(Cipher.DECRYPT_MODE, key, new IvParameterSpec(counter));
        byte[] piece = new byte[BLOCK];
        for (long missing = plaintextBytes; missing > 0; ) {
            int got = source.readNBytes(piece, 0, (int) Math.min(piece.length, missing));
            if (got == 0) throw cannotOpen();
            missing -= got;
            ghash.update(piece, got);
            byte[] plaintext = stream.update(piece, 0, got);
            if (plaintext != null) sink.write(plaintext);
        }
        sink.write(stream.doFinal());
        if (tag == null) {
            if (!Arrays.equals(source.readNBytes(2), new byte[] {4, 16})) throw cannotOpen();
            tag = source.readNBytes(16);
        }
        if (source.read() >= 0) throw cannotOpen();
        byte[] expected = ghash.finish(plaintextBytes);
        for (int i = 0; i < 16; i++) expected[i] ^= mask[i];
        if (!MessageDigest.isEqual(expected, tag)) throw cannotOpen();
    }

    /** GHASH of NIST SP 800-38D, a byte at a time by tables; every update but the last must hold whole blocks. */
    static final class Ghash {
        private final long[] high = new long[256];
        private final long[] low = new long[256];
        private final long[] reduced = new long[256];
        private long zHigh;
        private long zLow;

        Ghash(byte[] h) {
            high[128] = ByteBuffer.wrap(h).getLong(0);
            low[128] = ByteBuffer.wrap(h).getLong(8);
            for (int i = 64; i > 0; i /= 2) {
                low[i] = low[2 * i] >>> 1 | high[2 * i] << 63;
                high[i] = high[2 * i] >>> 1 ^ (low[2 * i] & 1) * 0xe100000000000000L;
            }
            for (int i = 2; i < 256; i *= 2) {
                for (int j = 1; j < i; j++) {
                    high[i + j] = high[i] ^ high[j];
                    low[i + j] = low[i] ^ low[j];
                }
            }
            for (int i = 0; i < 256; i++) {
                long top = 0;
                long bits = i;
                for (int bit = 0; bit < 8; bit++) {
                    long carry = bits & 1;
                    bits >>>= 1;
                    top = top >>> 1 ^ carry * 0xe100000000000000L;
                }
                reduced[i] = top;
            }
        }

        void update(byte[] data, int size) {
            ByteBuffer words = ByteBuffer.wrap(data);
            int whole = size - size % 16;
            for (int at = 0; at < whole; at += 16) multiply(words.getLong(at), words.getLong(at + 8));
            if (whole < size) {
                ByteBuffer last = ByteBuffer.wrap(Arrays.copyOf(Arrays.copyOfRange(data, whole, size), 16));
                multiply(last.getLong(0), last.getLong(8));
            }
        }

        byte[] finish(long bytes) {
            multiply(0, bytes * 8);
            return ByteBuffer.allocate(16).putLong(zHigh).putLong(zLow).array();
        }

        private void multiply(long xHigh, long xLow) {
            xHigh ^= zHigh;
            xLow ^= zLow;
            long h = 0;
            long l = 0;
            for (int shift = 0; shift < 128; shift += 8) {
                int octet = (int) (shift < 64 ? xLow >>> shift : xHigh >>> shift - 64) & 0xff;
                long dropped = reduced[(int) l & 0xff];
                l = (l >>> 8 | h << 56) ^ low[octet];
                h = (h >>> 8) ^ dropped ^ high[octet];
            }
            zHigh = h;
            zLow = l;
        }
    }

    static Path partOf(Path out, Doc file) {
        return out.resolve(file.text("name") + ".part");
    }

    static void refuseExisting(Path out, Doc file) throws Refused {
        if (Files.exists(out.resolve(file.text("name")), LinkOption.NOFOLLOW_LINKS)) {
            throw new Refused("usage", file.text("name") + " is already in the output folder");
        }
    }

    /** Open one file into out/NAME.part, which nobody else may have: it also keeps other runs away. */
    static void writePart(Path folder, Doc manifest, Doc file, List<Doc> recipients, RSAPrivateKey key, Path out)
        throws Refused, IOException, GeneralSecurityException {
        Path part = partOf(out, file);
        OutputStream created;
        try {
            created = Files.newOutputStream(part, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
        } catch (FileAlreadyExistsException error) {
            throw new Refused("usage", part.getFileName()
                + " is in the output folder: another run writes it, or a killed one left it; then delete it");
        }
        part.toFile().deleteOnExit(); // when this process is told to end; the finished file has another name
        boolean whole = false;
        try {
            try (OutputStream sink = created;
                HashedInput source = new HashedInput(openRegular(folder.resolve(file.text("sealed_name"))))) {
                refuseExisting(out, file);
                writePlaintext(source, folder, manifest, file, recipients, key, sink);
                if (source.size != file.number("sealed_bytes") || !source.sha256().equals(file.text("sealed_sha256"))) {
                    throw new Refused("file", "it was replaced while it was opened");
                }
            }
            whole = true;
        } finally {
            if (!whole) Files.deleteIfExists(part);
        }
    }

    static void writePlaintext(
        InputStream source, Path folder, Doc manifest, Doc file, List<Doc> recipients, RSAPrivateKey key, OutputStream sink)
        throws Refused, IOException, GeneralSecurityException {
        switch (file.text("format")) {
            case "native" -> openNative(source, manifest, file, recipients, key, sink);
            case "detached" -> {
                Doc detached = file.object("detached");
                byte[] stored = readSmall(folder.resolve(detached.text("key_name")), 1024, "file");
                if (!Arrays.equals(stored, wrappedKeys(recipients).get(0))) {
                    throw new Refused("keys", detached.text("key_name") + " is not the key of keys.json");
                }
                byte[] nonce = HEX.parseHex(detached.text("nonce"));
                byte[] tag = HEX.parseHex(detached.text("tag"));
                byte[] fileKey = unwrap(wrappedKeys(recipients), key);
                decryptMessage(source, fileKey, nonce, file.number("plaintext_bytes"), tag, sink);
            }
            case "smime" -> openSmime(source, file, recipients, key, sink);
            default -> openCms(source, file, key, sink);
        }
    }

    /** The bytes of a sealed file, hashed as they are read: what was checked is what was opened. */
    static final class HashedInput extends FilterInputStream {
        private final MessageDigest digest;
        long size;

        HashedInput(InputStream source) throws GeneralSecurityException {
            super(source);
            digest = MessageDigest.getInstance("SHA-256");
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] data, int offset, int count) throws IOException {
            int got = super.read(data, offset, count);
            if (got > 0) {
                digest.update(data, offset, got);
                size += got;
            }
            return got;
        }

        String sha256() {
            return HEX.formatHex(digest.digest());
        }
    }

    /**
     * The last batch of each feed that was opened: a line `partner.feed sequence manifest-sha256` for each, in one file.
     * FILE.part exists as long as this run does: two runs never judge by the same state.
     */
    static final class State implements AutoCloseable {
        static final Pattern LINE = Pattern.compile("([A-Za-z0-9][A-Za-z0-9._-]{0,128}) (0|[1-9][0-9]{0,15}) ([0-9a-f]{64})");
        private final Path file;
        private final Path part;
        private final boolean accept;
        private final TreeMap<String, Object[]> known = new TreeMap<>();

        State(Path file, boolean accept) throws Refused, IOException {
            this.file = file;
            this.accept = accept;
            this.part = file.resolveSibling(file.getFileName() + ".part");
            try {
                Files.createFile(part);
            } catch (FileAlreadyExistsException error) {
                throw new Refused("usage", part + " is there: another run works with this state, or a killed one left it; then delete it");
            }
            part.toFile().deleteOnExit();
            try {
                load();
            } catch (Refused error) {
                close();
                throw new Refused("usage", file + ": " + error.text);
            }
        }

        private void load() throws Refused, IOException {
            if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) return;
            String text = new String(readSmall(file, 1048576, "usage"), StandardCharsets.ISO_8859_1);
            for (String line : text.split("\n")) {
                if (line.isEmpty()) continue;
                Matcher found = LINE.matcher(line);
                if (!found.matches()) throw new Refused("usage", "this is not a state file of these openers");
                known.put(found.group(1), new Object[] {Long.valueOf(found.group(2)), found.group(3)});
            }
        }

        @Override
        public void close() throws IOException {
            Files.deleteIfExists(part);
        }

        /** Refuse, or with `accept` only report, a batch that does not follow the last one. */
        void check(String feed, Doc manifest, String digest) throws Refused {
            Object[] before = known.get(feed);
            if (before == null) {
                System.out.println("note: no batch of " + feed + " was opened with this state before: there is nothing to compare with");
                return;
            }
            long sequence = manifest.number("sequence");
            long last = (Long) before[0];
            String previous = manifest.text("previous_manifest_sha256");
            String text;
            if (sequence > last + 1) {
                text = "sequence " + sequence + " follows " + last + ": " + (sequence - last - 1) + " before it were skipped";
            } else if (sequence < last) {
                text = "sequence " + sequence + " is older than " + last + ", the last that was opened";
            } else if (sequence == last) {
                text = "sequence " + sequence + " was opened before" + (digest.equals(before[1]) ? "" : ", from another manifest");
            } else if (previous != null && !previous.equals(before[1])) {
                text = "sequence " + sequence + " names another manifest before it than the one that was opened";
            } else return;
            if (!accept) throw new Refused("sequence", text);
            System.out.println("note: " + text);
        }

        /** Write the state anew, if this batch is newer than what it holds. */
        void remember(String feed, Doc manifest, String digest) throws IOException {
            Object[] before = known.get(feed);
            if (before != null && manifest.number("sequence") <= (Long) before[0]) return;
            known.put(feed, new Object[] {manifest.number("sequence"), digest});
            StringBuilder lines = new StringBuilder();
            known.forEach((name, seen) -> lines.append(name).append(' ').append(seen[0]).append(' ').append(seen[1]).append('\n'));
            try (FileChannel sink = FileChannel.open(part, StandardOpenOption.WRITE)) {
                sink.write(ByteBuffer.wrap(lines.toString().getBytes(StandardCharsets.US_ASCII)));
                sink.force(true);
            }
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        }
    }

    /** What a caller may ask for beside the batch itself; `feed`, `batch` and `state` may be null. */
    record Wishes(String batch, boolean strict, boolean quiet, String feed, State state) {
        void say(String text) {
            if (!quiet) System.out.println(text);
        }
    }

    static void openBatch(Path given, RSAPrivateKey key, PublicKey sender, Path out, Wishes wishes)
        throws Refused, IOException, GeneralSecurityException {
        Place place = findBatch(given, wishes.batch);
        Batch read = readBatch(place.folder, place.prefix, sender);
        Doc manifest = read.manifest;
        String own = manifest.text("partner") + "." + manifest.text("feed");
        wishes.say("batch " + manifest.text("batch") + ": sequence " + manifest.number("sequence") + ", manifest " + read.digest
            + ", previous " + Objects.requireNonNullElse(manifest.text("previous_manifest_sha256"), "none"));
        if (wishes.feed != null && !wishes.feed.equals(own)) {
            throw new Refused("feed", "this is a batch of " + own + ", not of " + wishes.feed);
        }
        if (wishes.state != null) wishes.state.check(own, manifest, read.digest);
        checkFiles(place.folder, manifest);
        List<String> extra = unlisted(place.folder, place.prefix, manifest);
        if (wishes.strict && !extra.isEmpty()) {
            throw new Refused("extra", extra.get(0) + " is in the folder but not in the manifest");
        }
        refuseOpenPgp(manifest);
        Files.createDirectories(out);
        openFiles(place.folder, read, key, out);
        if (wishes.state != null) wishes.state.remember(own, manifest, read.digest);
        for (Doc file : manifest.objects("files")) {
            wishes.say("opened " + file.text("name") + " (" + file.number("plaintext_bytes") + " bytes)");
        }
        if (extra.size() == 1) wishes.say("note: " + extra.get(0) + " is not in this manifest and was not touched");
        else if (!extra.isEmpty()) wishes.say("note: " + extra.size() + " other files are in the folder and were not touched");
    }

    /** The batch was verified; its OpenPGP files are for an OpenPGP program, which has the key that opens them. */
    static void refuseOpenPgp(Doc manifest) throws Refused {
        for (Doc file : manifest.objects("files")) {
            if (file.text("format").equals("openpgp")) {
                throw new Refused("openpgp", file.text("sealed_name")
                    + " is an OpenPGP file: this program does not open it, gpg does (OPENPGP.md)");
            }
        }
    }

    /** Open every file to NAME.part, then rename all; when one is refused, none is left. */
    static void openFiles(Path folder, Batch read, RSAPrivateKey key, Path out)
        throws Refused, IOException, GeneralSecurityException {
        List<Path> written = new ArrayList<>();
        try {
            for (Doc file : read.manifest.objects("files")) {
                String sealedName = file.text("sealed_name");
                try {
                    writePart(folder, read.manifest, file, read.recipients.get(sealedName), key, out);
                } catch (Refused error) {
                    throw new Refused(error.kind, sealedName + ": " + error.text);
                }
                written.add(partOf(out, file));
            }
            for (Doc file : read.manifest.objects("files")) {
                refuseExisting(out, file);
                Files.move(partOf(out, file), out.resolve(file.text("name")), StandardCopyOption.ATOMIC_MOVE);
                written.remove(partOf(out, file));
            }
        } finally {
            for (Path part : written) Files.deleteIfExists(part);
        }
    }

    // ----------------------------------------------------------------------------------------- keys and command line

    static final Pattern PEM = Pattern.compile("-----BEGIN ([A-Z ]+)-----\\s+([A-Za-z0-9+/=\\s]+)-----END \\1-----");

    static byte[] readPem(Path file) throws Refused, IOException {
        if (!Files.isReadable(file)) throw new Refused("usage", file + " cannot be read");
        try {
            return readSmall(file, 262144, "usage");
        } catch (Refused error) {
            throw new Refused("usage", file + ": " + error.text);
        }
    }

    static RSAPrivateKey loadPrivateKey(Path file) throws Refused, IOException {
        Matcher pem = PEM.matcher(new String(readPem(file), StandardCharsets.ISO_8859_1));
        try {
            if (pem.find()) {
                byte[] encoded = Base64.getMimeDecoder().decode(pem.group(2));
                PKCS8EncodedKeySpec spec = switch (pem.group(1)) {
                    case "PRIVATE KEY" -> new PKCS8EncodedKeySpec(encoded);
                    case "RSA PRIVATE KEY" -> new PKCS8EncodedKeySpec(pkcs8(encoded));
                    case "ENCRYPTED PRIVATE KEY" -> decrypted(encoded);
                    default -> throw new GeneralSecurityException(pem.group(1));
                };
                PrivateKey key = KeyFactory.getInstance("RSA").generatePrivate(spec);
                if (key instanceof RSAPrivateKey rsa) return rsa;
            }
        } catch (GeneralSecurityException error) {
            // told below
        }
        throw new Refused("usage", file + " is not a PEM RSA private key, or SEALIFT_KEY_PASSWORD is missing or wrong");
    }

    /** Put PKCS#8 around PKCS#1: version 0, rsaEncryption, OCTET STRING. */
    static byte[] pkcs8(byte[] pkcs1) {
        ByteBuffer inner = ByteBuffer.allocate(pkcs1.length + 22);
        inner.put(HEX.parseHex("020100300d06092a864886f70d01010105000482")).putShort((short) pkcs1.length).put(pkcs1);
        return ByteBuffer.allocate(pkcs1.length + 26).putShort((short) 0x3082).putShort((short) (pkcs1.length + 22)).put(inner.array()).array();
    }

    static PKCS8EncodedKeySpec decrypted(byte[] encoded) throws GeneralSecurityException, IOException {
        String password = System.getenv("SEALIFT_KEY_PASSWORD");
        if (password == null) throw new GeneralSecurityException("no password");
        EncryptedPrivateKeyInfo info = new EncryptedPrivateKeyInfo(encoded);
        AlgorithmParameters parameters = info.getAlgParameters();
        // For PBES2 the parameters' text is the name of the whole scheme; its own name is not enough for the factory.
        SecretKeyFactory factory = SecretKeyFactory.getInstance(parameters.toString());
        Cipher cipher = Cipher.getInstance(parameters.toString());
        cipher.init(Cipher.DECRYPT_MODE, factory.generateSecret(new PBEKeySpec(password.toCharArray())), parameters);
        return info.getKeySpec(cipher);
    }

    static PublicKey loadSender(Path file) throws Refused, IOException {
        byte[] data = readPem(file);
        Matcher pem = PEM.matcher(new String(data, StandardCharsets.ISO_8859_1));
        PublicKey key = null;
        try {
            if (pem.find() && pem.group(1).equals("CERTIFICATE")) {
                byte[] encoded = Base64.getMimeDecoder().decode(pem.group(2));
                key = CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(encoded)).getPublicKey();
            } else if (pem.reset().find() && pem.group(1).equals("PUBLIC KEY")) {
                byte[] encoded = Base64.getMimeDecoder().decode(pem.group(2));
                key = KeyFactory.getInstance("RSA").generatePublic(new X509EncodedKeySpec(encoded));
            }
        } catch (GeneralSecurityException error) {
            // told below
        }
        if (key instanceof RSAPublicKey rsa && rsa.getModulus().bitLength() >= 3072) return rsa;
        throw new Refused("usage", "the sender's file is neither a PEM certificate nor a PEM public key with RSA of 3072 bits or more");
    }

    /** Prove this program on the test vectors: good batches open, bad ones are refused for the expected reason. */
    static int runVectors(Path folder) throws IOException, GeneralSecurityException, Refused {
        List<String> names = namesIn(folder).stream().filter(name -> name.endsWith(".json")).toList();
        int failed = 0;
        for (String name : names) {
            Doc vector = new Doc((Map<?, ?>) new Json(Files.readAllBytes(folder.resolve(name)), true).document());
            Path work = Files.createTempDirectory("vector-");
            Path inbox = Files.createDirectory(work.resolve("in"));
            Path out = Files.createDirectory(work.resolve("out"));
            for (Map.Entry<?, ?> each : vector.object("files").members.entrySet()) {
                Files.write(inbox.resolve((String) each.getKey()), Base64.getDecoder().decode((String) each.getValue()));
            }
            String got = "ok";
            try {
                RSAPrivateKey key = loadPrivateKey(folder.resolve("keys").resolve(vector.text("key") + ".key.pem"));
                PublicKey sender = loadSender(folder.resolve("keys").resolve(vector.text("sender") + ".pub.pem"));
                boolean strict = vector.members.get("strict").equals(true);
                openBatch(inbox, key, sender, out, new Wishes(vector.text("batch"), strict, true, null, null));
            } catch (Refused error) {
                got = error.kind;
            }
            Map<String, String> opened = new TreeMap<>();
            for (String each : namesIn(out)) opened.put(each, measure(out.resolve(each), 1L << 52).sha256);
            try (Stream<Path> all = Files.walk(work)) {
                for (Path each : all.sorted(java.util.Comparator.reverseOrder()).toList()) Files.delete(each);
            }
            String want = vector.text("expect") + " " + vector.object("plaintexts").members;
            String have = got + " " + opened;
            if (!want.equals(have)) {
                failed++;
                System.out.println("FAIL " + name + ": expected " + want + ", got " + have);
            }
        }
        System.out.println(names.size() + " vectors, " + failed + " failed");
        return failed > 0 || names.isEmpty() ? 1 : 0;
    }

    static final String USAGE = """
        usage: java Open.java FOLDER --key PRIVATE.pem --sender SENDER.pem --out DIR [--batch ID] [--strict]
                              [--feed PARTNER.FEED] [--state FILE] [--accept-sequence]
               java Open.java --vectors DIR

        FOLDER is where the batch lies, or its manifest.json. --batch chooses when the folder holds several. --strict refuses
        a folder that holds anything beside this batch. --feed refuses batches of any other feed. --state remembers the last
        batch of each feed in FILE and refuses one out of order, or with --accept-sequence reports and opens it. --vectors proves this program on the test vectors.""";

    static int run(String[] arguments) throws IOException, GeneralSecurityException {
        Map<String, String> options = new HashMap<>();
        String folder = null;
        for (int i = 0; i < arguments.length; i++) {
            String argument = arguments[i];
            if (List.of("--strict", "--accept-sequence", "--help").contains(argument)) options.put(argument, "");
            else if (List.of("--key", "--sender", "--out", "--batch", "--feed", "--state", "--vectors").contains(argument) && i + 1 < arguments.length) {
                options.put(argument, arguments[++i]);
            } else if (!argument.startsWith("-") && folder == null) folder = argument;
            else options.put("wrong", argument);
        }
        if (options.containsKey("--help")) {
            System.out.println(USAGE);
            return 0;
        }
        boolean whole = folder != null && options.keySet().containsAll(List.of("--key", "--sender", "--out"));
        if (options.containsKey("wrong") || !whole && !options.containsKey("--vectors")) {
            System.err.println(USAGE);
            return 2;
        }
        try {
            if (options.containsKey("--vectors")) return runVectors(Path.of(options.get("--vectors")));
            RSAPrivateKey key = loadPrivateKey(Path.of(options.get("--key")));
            PublicKey sender = loadSender(Path.of(options.get("--sender")));
            boolean strict = options.containsKey("--strict");
            Path remembered = options.containsKey("--state") ? Path.of(options.get("--state")) : null;
            try (State state = remembered == null ? null : new State(remembered, options.containsKey("--accept-sequence"))) {
                Wishes wishes = new Wishes(options.get("--batch"), strict, false, options.get("--feed"), state);
                openBatch(Path.of(folder), key, sender, Path.of(options.get("--out")), wishes);
            }
            return 0;
        } catch (Refused error) {
            System.err.println("error: " + error.getMessage());
            return error.kind.equals("usage") ? 2 : 1;
        } catch (IOException error) {
            System.err.println("error: io: " + error);
            return 3;
        }
    }

    public static void main(String[] arguments) throws IOException, GeneralSecurityException {
        System.exit(run(arguments));
    }
}
