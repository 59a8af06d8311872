// Bouncy Castle for Java: opens each S/MIME file of a folder, and verifies the signature inside where there is one.
//
// usage: java -cp JARS Smime.java KEY.pem CERTIFICATE.pem OURS.pem FILE...      prints for each: file, SHA-256 of the content, signed or not

import java.io.BufferedInputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import org.bouncycastle.cms.CMSEnvelopedDataParser;
import org.bouncycastle.cms.CMSSignedDataParser;
import org.bouncycastle.cms.KeyTransRecipientId;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipient;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

public final class Smime {
    public static void main(String[] arguments) throws Exception {
        String text = Files.readString(Path.of(arguments[0])).replaceAll("-----[A-Z ]+-----|\\s", "");
        PrivateKey key = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text)));
        String mine = certificate(arguments[1]).getSerialNumber().toString();
        X509Certificate ours = certificate(arguments[2]);
        for (int i = 3; i < arguments.length; i++) System.out.println(arguments[i] + " " + open(arguments[i], key, mine, ours));
    }

    static X509Certificate certificate(String file) throws Exception {
        try (InputStream pem = new FileInputStream(file)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(pem);
        }
    }

    static String open(String file, PrivateKey key, String mine, X509Certificate ours) {
        try (InputStream in = new BufferedInputStream(new FileInputStream(file))) {
            for (RecipientInformation each : new CMSEnvelopedDataParser(in).getRecipientInfos().getRecipients()) {
                if (!serialOf(each).equals(mine)) continue;
                // The JDK's own provider does not know OAEP under the name that CMS gives it.
                JceKeyTransRecipient recipient = new JceKeyTransEnvelopedRecipient(key).setProvider(new BouncyCastleProvider());
                InputStream content = each.getContentStream(recipient).getContentStream();
                return file.contains(".signed.") ? verified(content, ours) : digest(content);
            }
            return "not for this key";
        } catch (Exception error) {
            return "refused " + error;
        }
    }

    static String serialOf(RecipientInformation each) {
        return ((KeyTransRecipientId) each.getRID()).getSerialNumber().toString();
    }

    static String digest(InputStream content) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        content.transferTo(new java.security.DigestOutputStream(OutputStream.nullOutputStream(), digest));
        return HexFormat.of().formatHex(digest.digest()) + " unsigned";
    }

    static String verified(InputStream content, X509Certificate ours) throws Exception {
        CMSSignedDataParser signed = new CMSSignedDataParser(new JcaDigestCalculatorProviderBuilder().build(), content);
        String found = digest(signed.getSignedContent().getContentStream());
        for (SignerInformation each : signed.getSignerInfos().getSigners()) {
            if (!each.verify(new JcaSimpleSignerInfoVerifierBuilder().build(ours))) return "bad signature";
        }
        return found.replace("unsigned", "signed");
    }
}
