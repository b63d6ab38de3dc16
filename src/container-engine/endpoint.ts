/**
 * Where a container engine listens, from the words that Docker's own tools use (`DOCKER_HOST`, `DOCKER_CERT_PATH`,
 * `DOCKER_TLS_VERIFY`). Who reaches an engine's API is root on its host, so it is spoken over a socket of this machine or
 * over verified TLS, never by accident over a network in the clear.
 * @module
 */
import { isIPv4, isIPv6 } from "node:net";
import { join } from "node:path";
import type { ConfigFault } from "../errors.ts";

/** The three files of a client, PEM, as in a folder of `DOCKER_CERT_PATH`. */
export interface ClientFiles {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

export type EngineEndpoint =
  /** A unix socket, or a named pipe of Windows (`\\.\pipe\docker_engine`): Node opens both by path. */
  | { readonly kind: "socket"; readonly path: string; readonly label: string }
  | {
      readonly kind: "tcp";
      readonly host: string;
      readonly port: number;
      /** Absent: in the clear. */
      readonly tls: ClientFiles | undefined;
      readonly label: string;
    };

export interface EndpointSettings {
  /** `unix:///…`, `npipe:////./pipe/…`, `tcp://host:port`; absent or empty: the platform's default. */
  readonly host: string | undefined;
  /** Folder with ca.pem, cert.pem and key.pem. */
  readonly certificateFolder: string | undefined;
  /** `DOCKER_TLS_VERIFY`: anything but empty asks for TLS. */
  readonly tlsVerify: boolean;
  /** Whether TCP without TLS may leave this machine. */
  readonly plainTcpAllowed: boolean;
  readonly platform: NodeJS.Platform;
  readonly homeDirectory: string;
}

const tlsPort = 2376;
const plainPort = 2375;

/** The endpoint; `undefined` and a fault for each thing wrong with the settings. */
export function parseEndpoint(settings: EndpointSettings, faults: ConfigFault[]): EngineEndpoint | undefined {
  const text =
    settings.host ||
    (settings.platform === "win32" ? "npipe:////./pipe/docker_engine" : "unix:///var/run/docker.sock");
  const fault = (problem: string): undefined => void faults.push({ setting: "--host", problem });
  const [, scheme = "", rest = ""] = /^([a-z]+):\/\/(.*)$/is.exec(text) ?? [];
  switch (scheme.toLowerCase()) {
    case "unix":
      if (!rest.startsWith("/"))
        return fault(`"${text}" names no absolute path, as unix:///var/run/docker.sock does`);
      return { kind: "socket", path: rest, label: text };
    case "npipe": {
      const pipe = /^\/\/(\.|[\w.-]+)\/pipe\/([\w.-]+)$/.exec(rest.replaceAll("\\", "/"));
      if (pipe === null) return fault(`"${text}" is no pipe, as npipe:////./pipe/docker_engine is`);
      if (settings.platform !== "win32") return fault("named pipes exist on Windows only");
      return { kind: "socket", path: `\\\\${pipe[1]}\\pipe\\${pipe[2]}`, label: text };
    }
    case "tcp":
    case "https":
    case "http":
      return tcpEndpoint(text, scheme.toLowerCase(), rest, settings, fault);
    case "ssh":
      return fault(
        `"${text}" asks for SSH: forward the socket (\`ssh -L /tmp/engine.sock:/var/run/docker.sock HOST\`) and name that`,
      );
    default:
      return fault(`"${text}" is none of unix:///PATH, npipe:////./pipe/NAME, tcp://HOST:PORT`);
  }
}

function tcpEndpoint(
  text: string,
  scheme: string,
  rest: string,
  settings: EndpointSettings,
  fault: (problem: string) => undefined,
): EngineEndpoint | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?))(?::(\d{1,5}))?\/?$/i.exec(rest);
  const host = match?.[1] ?? match?.[2] ?? "";
  const tlsWanted = settings.tlsVerify || (settings.certificateFolder ?? "") !== "" || scheme === "https";
  const port = Number(match?.[3] ?? (tlsWanted ? tlsPort : plainPort));
  const literal = match?.[1] === undefined || isIPv6(match[1]);
  if (match === null || !literal || port < 1 || port > 65_535) {
    return fault(`"${text}" is not tcp://HOST:PORT; IPv6 addresses stand in brackets`);
  }
  if (tlsWanted && scheme === "http") return fault(`"${text}" asks for plain HTTP and for TLS at once`);
  if (!tlsWanted) {
    if (!isLoopback(host) && !settings.plainTcpAllowed) {
      return fault(
        `"${text}" would be spoken in the clear, and whoever listens becomes root of the host: give --cert-path ` +
          "(DOCKER_CERT_PATH) for TLS, or say --allow-plain-tcp",
      );
    }
    return { kind: "tcp", host, port, tls: undefined, label: text };
  }
  const folder = settings.certificateFolder || join(settings.homeDirectory, ".docker");
  return {
    kind: "tcp",
    host,
    port,
    tls: {
      authority: join(folder, "ca.pem"),
      certificate: join(folder, "cert.pem"),
      key: join(folder, "key.pem"),
    },
    label: text,
  };
}

function isLoopback(host: string): boolean {
  if (isIPv4(host)) return host.startsWith("127.");
  return host === "::1" || host.toLowerCase() === "localhost";
}
