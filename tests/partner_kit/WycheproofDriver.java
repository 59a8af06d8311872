// java -cp CLASSES WycheproofDriver CASES: one answer a line, for test_wycheproof.py.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.interfaces.RSAPrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.HexFormat;

final class WycheproofDriver {
    static byte[] bytes(String text) {
        return text.equals("-") ? new byte[0] : HexFormat.of().parseHex(text);
    }

    static String shown(byte[] data) {
        return data.length == 0 ? "-" : HexFormat.of().formatHex(data);
    }

    static String run(String[] line) throws Exception {
        ByteArrayOutputStream sink = new ByteArrayOutputStream();
        KeyFactory keys = KeyFactory.getInstance("RSA");
        switch (line[0]) {
            case "oaep" -> {
                RSAPrivateKey key = (RSAPrivateKey) keys.generatePrivate(new PKCS8EncodedKeySpec(bytes(line[1])));
                return shown(Open.oaepDecrypt(bytes(line[2]), key));
            }
            case "pss" -> {
                return String.valueOf(
                    Open.isSigned(bytes(line[2]), bytes(line[3]), keys.generatePublic(new X509EncodedKeySpec(bytes(line[1])))));
            }
            case "gcm" -> {
                byte[] ct = bytes(line[3]);
                Open.decryptMessage(new ByteArrayInputStream(ct), bytes(line[1]), bytes(line[2]), ct.length, bytes(line[4]), sink);
                return shown(sink.toByteArray());
            }
            default -> {
                ByteArrayInputStream ct = new ByteArrayInputStream(bytes(line[3]));
                Open.decryptChunks(ct, bytes(line[1]), bytes(line[2]), Long.parseLong(line[4]), sink);
                return shown(MessageDigest.getInstance("SHA-512").digest(sink.toByteArray()));
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String answer;
            try {
                answer = run(line.split(" "));
            } catch (Open.Refused | java.security.GeneralSecurityException error) {
                answer = "refused";
            }
            System.out.println(answer);
        }
    }
}
