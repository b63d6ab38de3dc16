/**
 * Who is at the other end of a TLS connection: the one check of a client's certificate, made for every request, because
 * a certificate may end while its connection stays open.
 * @module
 */
import { createHash, type X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** `id-kp-clientAuth`, RFC 5280 section 4.2.1.12. */
const clientAuthUsage = "1.3.6.1.5.5.7.3.2";

/** Why a client certificate is refused: for the log and the metrics, never for the client. */
export type ClientCertificateRefusal =
  | "no-tls"
  | "no-certificate"
  | "not-from-our-authority"
  | "expired"
  | "wrong-usage"
  | "unknown-key";

/** What is known of an accepted client. */
export interface ClientCertificate {
  /** SHA-256 of the public key (DER SubjectPublicKeyInfo), lower-case hexadecimal. */
  readonly publicKeySha256: string;
  /** The first common name of the subject, empty when there is none. */
  readonly commonName: string;
  /** End of validity, milliseconds since the epoch. */
  readonly notAfter: number;
}

export type ClientCertificateCheck =
  | { readonly accepted: true; readonly certificate: ClientCertificate }
  | { readonly accepted: false; readonly reason: ClientCertificateRefusal };

/**
 * Checks the certificate of a connection: it came with one, the chain ends in the listener's own client authorities, it
 * may be used by clients (an explicit extended key usage is required), it is valid now, and `isKnown` says yes.
 *
 * @param isKnown decides about the certificate itself, for example by its pinned public key.
 */
export function checkClientCertificate(
  socket: Socket,
  now: number,
  isKnown: (certificate: ClientCertificate) => boolean,
): ClientCertificateCheck {
  if (!(socket instanceof TLSSocket)) return { accepted: false, reason: "no-tls" };
  const facts = factsOf(socket);
  if (!("certificate" in facts)) return { accepted: false, reason: facts.reason };
  const { certificate, notBefore } = facts;
  if (now < notBefore || now > certificate.notAfter) return { accepted: false, reason: "expired" };
  if (!isKnown(certificate)) return { accepted: false, reason: "unknown-key" };
  return { accepted: true, certificate };
}

type Facts =
  | { readonly certificate: ClientCertificate; readonly notBefore: number }
  | { readonly reason: ClientCertificateRefusal };

/** A connection's certificate never changes (renegotiation is off), so it is read once. */
const known = new WeakMap<TLSSocket, Facts>();

function factsOf(socket: TLSSocket): Facts {
  let facts = known.get(socket);
  if (facts === undefined) {
    facts = readFacts(socket);
    known.set(socket, facts);
  }
  return facts;
}

function readFacts(socket: TLSSocket): Facts {
  const peer = socket.getPeerX509Certificate();
  if (peer === undefined) return { reason: "no-certificate" };
  if (!socket.authorized) return { reason: refusalOf(String(socket.authorizationError)) };
  if (!(peer.keyUsage ?? []).includes(clientAuthUsage)) return { reason: "wrong-usage" };
  return {
    certificate: {
      publicKeySha256: publicKeySha256(peer),
      commonName: /(?:^|\n)CN=([^\n]*)/.exec(peer.subject)?.[1] ?? "",
      notAfter: peer.validToDate.getTime(),
    },
    notBefore: peer.validFromDate.getTime(),
  };
}

/** OpenSSL's verification result, as Node names it. */
function refusalOf(verification: string): ClientCertificateRefusal {
  if (verification.includes("CERT_HAS_EXPIRED") || verification.includes("CERT_NOT_YET_VALID"))
    return "expired";
  if (verification.includes("INVALID_PURPOSE")) return "wrong-usage";
  return "not-from-our-authority";
}

/** SHA-256 of a certificate's DER SubjectPublicKeyInfo, lower-case hexadecimal. */
function publicKeySha256(certificate: X509Certificate): string {
  return createHash("sha256")
    .update(certificate.publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
}
