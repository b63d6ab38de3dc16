/**
 * Where STS is: one fixed host for each region, never one that a token names.
 * @module
 */
import type { ConfigFault } from "../../errors.ts";

/** Region ids: lower-case letters and digits in groups, `cn-hangzhou`, `us-west-1`, `cn-hangzhou-finance`. */
const regionPattern = /^[a-z]{2,8}(?:-[a-z0-9]{1,16}){1,3}$/;

/** Regions whose STS answers under another region's name. */
const sharedEndpoints: Readonly<Record<string, string>> = { "cn-hangzhou-finance": "cn-hangzhou" };

export type EndpointResult =
  | { readonly ok: true; readonly origin: string }
  | { readonly ok: false; readonly fault: ConfigFault };

/** The public endpoint without a region, the region's VPC endpoint with one. */
export function endpointOfRegion(region: string): EndpointResult {
  if (region === "") return { ok: true, origin: "https://sts.aliyuncs.com" };
  if (!regionPattern.test(region)) {
    return {
      ok: false,
      fault: {
        setting: "region",
        problem: `"${region}" is not the form of a region id, such as cn-hangzhou`,
      },
    };
  }
  return { ok: true, origin: `https://sts-vpc.${sharedEndpoints[region] ?? region}.aliyuncs.com` };
}

/**
 * An endpoint given by the operator, for private clouds and tests: a host with an optional port, or an `https` URL
 * without anything after the port.
 */
export function endpointOfSetting(setting: string): EndpointResult {
  const text = setting.includes("://") ? setting : `https://${setting}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url === undefined ||
    url.protocol !== "https:" ||
    url.username !== "" ||
    url.password !== "" ||
    url.pathname !== "/" ||
    url.search !== "" ||
    url.hash !== ""
  ) {
    return {
      ok: false,
      fault: { setting: "sts-endpoint", problem: `"${setting}" is not HOST[:PORT] or https://HOST[:PORT]` },
    };
  }
  return { ok: true, origin: url.origin };
}
