/**
 * The library: what an application imports from "sallyport". Everything here is documented, typed, and kept compatible.
 *
 * ```ts
 * import { Directory, Secret } from "sallyport";
 * ```
 * @module
 */
export {
  Directory,
  type Authentication,
  type AuthenticateOptions,
  type BindGuard,
  type DirectoryDependencies,
  type DirectoryOptions,
  type DomainFacts,
  type OperationOptions,
  type RefusalReason,
  type Refreshed,
  type Resolution,
  type Step,
} from "./directory/directory.ts";
export { groupStrategies, type Group, type GroupRules, type GroupStrategy } from "./directory/groups.ts";
export type { AccountProblem } from "./directory/account-state.ts";
export type { ControllerSource } from "./directory/controllers.ts";
export type { LookUpServices, ServiceRecord } from "./directory/service-records.ts";
export { parseGuid, type Guid } from "./directory/guid.ts";
export type { Person } from "./directory/person.ts";
export { parseServerUrl } from "./directory/server-url.ts";
export type { ServiceAccount } from "./directory/service-session.ts";
export { parseSid, type Sid } from "./directory/sid.ts";
export type { DirectoryServer, TlsTrust } from "./directory/transport.ts";
export { SallyportError, type ErrorCode } from "./errors.ts";
export { createLog, type Log } from "./observe/log.ts";
export { Secret } from "./secret.ts";
export { systemClock, type Clock } from "./clock.ts";
