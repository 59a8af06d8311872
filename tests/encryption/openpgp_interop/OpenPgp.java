// Opens every message of a folder with Bouncy Castle and prints what was in it, one JSON line a message.
// java -cp bcpg.jar:bcprov.jar:. OpenPgp FOLDER KEY.asc SENDER.asc
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Iterator;
import org.bouncycastle.openpgp.*;
import org.bouncycastle.openpgp.bc.BcPGPObjectFactory;
import org.bouncycastle.openpgp.operator.bc.*;

public final class OpenPgp {
    public static void main(String[] arguments) throws Exception {
        PGPSecretKeyRing keys;
        try (InputStream in = PGPUtil.getDecoderStream(Files.newInputStream(Path.of(arguments[1])))) {
            keys = new PGPSecretKeyRing(in, new BcKeyFingerprintCalculator());
        }
        PGPPublicKey sender;
        try (InputStream in = PGPUtil.getDecoderStream(Files.newInputStream(Path.of(arguments[2])))) {
            sender = new PGPPublicKeyRing(in, new BcKeyFingerprintCalculator()).getPublicKey();
        }
        try (var files = Files.list(Path.of(arguments[0]))) {
            for (Path file : files.sorted().toList()) {
                open(file, keys, sender);
            }
        }
    }

    private static void open(Path file, PGPSecretKeyRing keys, PGPPublicKey sender) throws Exception {
        try (InputStream in = PGPUtil.getDecoderStream(Files.newInputStream(file))) {
            PGPEncryptedDataList list = (PGPEncryptedDataList) new BcPGPObjectFactory(in).nextObject();
            PGPPublicKeyEncryptedData mine = null;
            PGPPrivateKey key = null;
            for (Iterator<PGPEncryptedData> each = list.iterator(); key == null;) {
                mine = (PGPPublicKeyEncryptedData) each.next();
                PGPSecretKey secret = keys.getSecretKey(mine.getKeyID());
                key = secret == null ? null : secret.extractPrivateKey(null);
            }
            BcPGPObjectFactory inside = new BcPGPObjectFactory(mine.getDataStream(new BcPublicKeyDataDecryptorFactory(key)));
            Object next = inside.nextObject();
            if (next instanceof PGPCompressedData compressed) {
                inside = new BcPGPObjectFactory(compressed.getDataStream());
                next = inside.nextObject();
            }
            PGPOnePassSignature announced = ((PGPOnePassSignatureList) next).get(0);
            announced.init(new BcPGPContentVerifierBuilderProvider(), sender);
            PGPLiteralData literal = (PGPLiteralData) inside.nextObject();
            ByteArrayOutputStream content = new ByteArrayOutputStream();
            literal.getInputStream().transferTo(content);
            announced.update(content.toByteArray());
            boolean signed = announced.verify(((PGPSignatureList) inside.nextObject()).get(0));
            if (!signed || !mine.verify()) {
                throw new IllegalStateException(file + ": signature or integrity check fails");
            }
            byte[] sha256 = MessageDigest.getInstance("SHA-256").digest(content.toByteArray());
            System.out.printf("{\"message\": \"%s\", \"sha256\": \"%s\", \"name\": \"%s\"}%n",
                file.getFileName(), HexFormat.of().formatHex(sha256), literal.getFileName());
        }
    }
}
